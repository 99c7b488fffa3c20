r"""Adversarial objectives as pairs of functions of the discriminator's logits.

With l the logit of an image, x real, G(z) generated, and :math:`D = \sigma(l)`:

=============== ============================================== ======================================================
objective       discriminator minimises                        generator minimises
=============== ============================================== ======================================================
non-saturating  -E[log D(x)] - E[log(1 - D(G(z)))]             -E[log D(G(z))]
minimax         the same                                       E[log(1 - D(G(z)))]
least squares   E[(l(x) - b)^2] / 2 + E[(l(G(z)) - a)^2] / 2   E[(l(G(z)) - c)^2] / 2
hinge           E[max(0, 1 - l(x))] + E[max(0, 1 + l(G(z)))]   -E[l(G(z))]
Wasserstein     E[l(G(z))] - E[l(x)]                           -E[l(G(z))]
=============== ============================================== ======================================================

Non-saturating and minimax: Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661. Least squares: Mao et al. 2017,
https://arxiv.org/abs/1611.04076. Hinge: Lim and Ye 2017, https://arxiv.org/abs/1705.02894. Wasserstein: Arjovsky et al.
2017, https://arxiv.org/abs/1701.07875. Cross entropies are in nats.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lightning_gen.errors import InputError

Logits = Float[Tensor, " judged"]
"""One a judgement: of an image, or of a pack of them."""
Scalar = Float[Tensor, ""]


@dataclass(frozen=True)
class Objective:
    """What the two players minimise.

    Attributes:
        discriminator: (logits of real images, logits of generated images) -> loss.
        generator: (logits of generated images) -> loss.
        has_targets: whether the discriminator is drawn to a target for real images, which smoothing can move.
    """

    discriminator: Callable[..., Scalar]
    generator: Callable[[Logits], Scalar]
    has_targets: bool = False

    def smoothed(self, amount: float) -> "Objective":
        """One-sided label smoothing (Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 3.4).

        Args:
            amount: how far the real images' target is moved towards the generated images' one, in [0, 1); the
                latter stays, since to move it would draw the generator to where the data is not.

        Returns:
            The objective with the moved target.

        Raises:
            InputError: when the amount is out of range, or the objective has no targets.
        """
        if not 0 <= amount < 1:
            raise InputError(f"model.label_smoothing is {amount}; it must be at least 0 and below 1, such as 0.1")
        if amount == 0:
            return self
        if not self.has_targets:
            raise InputError(
                f"model.label_smoothing is {amount}, and this model's loss has no labels to smooth; set it to 0"
            )
        return replace(self, discriminator=partial(self.discriminator, smoothing=amount))


def non_saturating_discriminator(real: Logits, fake: Logits, smoothing: float = 0.0) -> Scalar:
    """Cross entropy of telling real from generated: E[softplus(-real)] + E[softplus(fake)]; 2 log 2 at D = 1/2.

    Args:
        real: logits of real images.
        fake: logits of generated images.
        smoothing: real images have the target 1 - smoothing.

    Returns:
        The loss, at least 0.
    """
    # s softplus(l) + (1 - s) softplus(-l) = softplus(-l) + s l
    return (F.softplus(-real) + smoothing * real).mean() + F.softplus(fake).mean()


def non_saturating_generator(fake: Logits) -> Scalar:
    """The non-saturating generator loss: E[softplus(-fake)]; log 2 at D = 1/2.

    Its gradient does not vanish where the discriminator is sure (fake << 0), as that of log(1 - D) does.

    Args:
        fake: logits of generated images.

    Returns:
        The loss, at least 0.
    """
    return F.softplus(-fake).mean()


def minimax_generator(fake: Logits) -> Scalar:
    """What the discriminator maximises, minimised: E[log(1 - D)] = -E[softplus(fake)]; -log 2 at D = 1/2.

    Args:
        fake: logits of generated images.

    Returns:
        The loss, at most 0.
    """
    return -F.softplus(fake).mean()


def least_squares_discriminator(real: Logits, fake: Logits, *, a: float, b: float, smoothing: float = 0.0) -> Scalar:
    """Half the squared distance to the targets: E[(real - b)^2] / 2 + E[(fake - a)^2] / 2.

    Args:
        real: outputs for real images.
        fake: outputs for generated images.
        a: target of generated images.
        b: target of real images.
        smoothing: how far b is moved towards a, in [0, 1).

    Returns:
        The loss, at least 0.
    """
    target = b + smoothing * (a - b)
    return ((real - target).square().mean() + (fake - a).square().mean()) / 2


def least_squares_generator(fake: Logits, *, c: float) -> Scalar:
    """Half the squared distance to what the discriminator shall believe: E[(fake - c)^2] / 2.

    Args:
        fake: outputs for generated images.
        c: the target.

    Returns:
        The loss, at least 0.
    """
    return (fake - c).square().mean() / 2


def hinge_discriminator(real: Logits, fake: Logits) -> Scalar:
    """The hinge loss with margin 1: E[max(0, 1 - real)] + E[max(0, 1 + fake)]; 2 at real = fake = 0.

    Args:
        real: outputs for real images.
        fake: outputs for generated images.

    Returns:
        The loss, at least 0.
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def wasserstein_discriminator(real: Logits, fake: Logits) -> Scalar:
    """E[fake] - E[real]: minus the critic's estimate of the Wasserstein distance, up to its Lipschitz constant.

    Args:
        real: the critic's outputs for real images.
        fake: its outputs for generated images.

    Returns:
        The loss, unbounded.
    """
    return fake.mean() - real.mean()


def linear_generator(fake: Logits) -> Scalar:
    """-E[fake]: the generator's side of the hinge and Wasserstein objectives.

    Args:
        fake: outputs for generated images.

    Returns:
        The loss, unbounded.
    """
    return -fake.mean()


NON_SATURATING = Objective(non_saturating_discriminator, non_saturating_generator, has_targets=True)
MINIMAX = Objective(non_saturating_discriminator, minimax_generator, has_targets=True)
HINGE = Objective(hinge_discriminator, linear_generator)
WASSERSTEIN = Objective(wasserstein_discriminator, linear_generator)


def least_squares(a: float, b: float, c: float) -> Objective:
    """The least-squares objective with targets a for generated and b for real images, and c for the generator.

    Args:
        a: the discriminator's target of generated images.
        b: its target of real images.
        c: what the generator wants it to say.

    Returns:
        The objective.
    """
    return Objective(
        partial(least_squares_discriminator, a=a, b=b), partial(least_squares_generator, c=c), has_targets=True
    )
