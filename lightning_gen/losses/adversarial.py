r"""Adversarial objectives: a discriminator loss and a generator loss, each a function of the discriminator's logits.

With l the logit of an image, x a real image, G(z) a generated image, and :math:`D = \sigma(l)`:

==================== ============================================== ====================================================
objective            discriminator minimises                        generator minimises
==================== ============================================== ====================================================
non-saturating       -E[log D(x)] - E[log(1 - D(G(z)))]             -E[log D(G(z))]
minimax              the same                                       E[log(1 - D(G(z)))]
least squares        E[(l(x) - b)^2] / 2 + E[(l(G(z)) - a)^2] / 2   E[(l(G(z)) - c)^2] / 2
hinge                E[max(0, 1 - l(x))] + E[max(0, 1 + l(G(z)))]   -E[l(G(z))]
Wasserstein          E[l(G(z))] - E[l(x)]                           -E[l(G(z))]
relativistic average S(l(x) - E[l(G(z))]) + S(E[l(x)] - l(G(z)))    the same with x and G(z) exchanged
relativistic pairing E[softplus(-(l(x) - l(G(z))))]                 the same with x and G(z) exchanged
==================== ============================================== ====================================================

Non-saturating and minimax: Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661. Least squares: Mao et al. 2017,
https://arxiv.org/abs/1611.04076. Hinge: Lim and Ye 2017, https://arxiv.org/abs/1705.02894. Wasserstein: Arjovsky et al.
2017, https://arxiv.org/abs/1701.07875. Relativistic average: Jolicoeur-Martineau 2018,
https://arxiv.org/abs/1807.00734, in the form of ESRGAN, https://arxiv.org/abs/1809.00219, with S(a) the mean of
softplus(-a) / 2. Relativistic pairing: Jolicoeur-Martineau 2018 and R3GAN, Huang et al. 2024,
https://arxiv.org/abs/2501.05441, with one generated image per real image. Cross entropies are in nats.

In the functions below, ``real`` and ``fake`` are the logits of real and of generated images.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lightning_gen.checks import check_fraction
from lightning_gen.errors import InputError

Logits = Float[Tensor, " packs"]
"""One logit per image, or one per pack of images."""
Scalar = Float[Tensor, ""]


@dataclass(frozen=True)
class Objective:
    """The losses of the discriminator and the generator.

    Attributes:
        discriminator_loss: (logits of real images, logits of generated images) -> loss.
        generator_loss: (logits of generated images) -> loss; of a relativistic objective, (logits of real images,
            logits of generated images) -> loss.
        has_targets: whether the discriminator loss has a target for real images, which label smoothing can change.
        chance_logit: the best constant logit: above it, the discriminator takes an image for a real one. None if
            only differences of logits have a meaning.
    """

    discriminator_loss: Callable[..., Scalar]
    generator_loss: Callable[..., Scalar]
    has_targets: bool = False
    chance_logit: float | None = 0.0

    def with_label_smoothing(self, amount: float) -> "Objective":
        """Apply one-sided label smoothing (Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 3.4).

        Args:
            amount: shift of the target of real images towards that of generated images, as a fraction in [0, 1). The
                target of generated images is unchanged: smoothing it would attract the generator to regions without
                data.

        Returns:
            The objective with the smoothed target.

        Raises:
            InputError: if the amount is out of range, or the objective has no targets.
        """
        check_fraction(label_smoothing=amount, note=", such as 0.1")
        if amount == 0:
            return self
        if not self.has_targets:
            raise InputError(
                f"model.label_smoothing is {amount}, but the loss of this model has no labels to smooth; set it to 0"
            )
        return replace(self, discriminator_loss=partial(self.discriminator_loss, smoothing=amount))


def non_saturating_discriminator_loss(real: Logits, fake: Logits, smoothing: float = 0.0) -> Scalar:
    """Binary cross entropy E[softplus(-real)] + E[softplus(fake)], which is 2 log 2 at D = 1/2.

    The target of real images is ``1 - smoothing``, that of generated images is 0.
    """
    # s softplus(l) + (1 - s) softplus(-l) = softplus(-l) + s l
    return (F.softplus(-real) + smoothing * real).mean() + F.softplus(fake).mean()


def non_saturating_generator_loss(fake: Logits) -> Scalar:
    """E[softplus(-fake)], which is log 2 at D = 1/2.

    Unlike the gradient of log(1 - D), its gradient does not vanish where the discriminator is confident (fake << 0).
    """
    return F.softplus(-fake).mean()


def minimax_generator_loss(fake: Logits) -> Scalar:
    """E[log(1 - D)] = -E[softplus(fake)], which is -log 2 at D = 1/2 and never positive."""
    return -F.softplus(fake).mean()


def least_squares_discriminator_loss(
    real: Logits, fake: Logits, *, a: float, b: float, smoothing: float = 0.0
) -> Scalar:
    """E[(real - b')^2] / 2 + E[(fake - a)^2] / 2 with the smoothed target b' = b + smoothing (a - b)."""
    target = b + smoothing * (a - b)
    return ((real - target).square().mean() + (fake - a).square().mean()) / 2


def least_squares_generator_loss(fake: Logits, *, c: float) -> Scalar:
    """E[(fake - c)^2] / 2."""
    return (fake - c).square().mean() / 2


def hinge_discriminator_loss(real: Logits, fake: Logits) -> Scalar:
    """The hinge loss with margin 1: E[max(0, 1 - real)] + E[max(0, 1 + fake)], which is 2 at real = fake = 0."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def wasserstein_discriminator_loss(real: Logits, fake: Logits, drift: float = 0.0) -> Scalar:
    """E[fake] - E[real]: minus the critic's estimate of the Wasserstein distance, up to its Lipschitz constant.

    With ``drift`` > 0, drift E[real^2] is added, so that logits do not drift away from 0 (Karras et al. 2018,
    https://arxiv.org/abs/1710.10196, appendix A.1).
    """
    loss = fake.mean() - real.mean()
    return loss + drift * real.square().mean() if drift else loss


def linear_generator_loss(fake: Logits) -> Scalar:
    """-E[fake], the generator loss of the hinge and Wasserstein objectives."""
    return -fake.mean()


def relativistic_average_discriminator_loss(real: Logits, fake: Logits) -> Scalar:
    """Mean of E[softplus(-(real - E[fake]))] and E[softplus(fake - E[real])], which is log 2 for equal logits.

    A real image shall look more real than generated images do on average, and the reverse. A constant added to all
    logits has no effect.
    """
    return (F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()) / 2


def relativistic_average_generator_loss(real: Logits, fake: Logits) -> Scalar:
    """The discriminator loss with real and generated images exchanged, log 2 for equal logits.

    Only the logits of generated images have a gradient.
    """
    return relativistic_average_discriminator_loss(fake, real.detach())


def relativistic_pairing_discriminator_loss(real: Logits, fake: Logits) -> Scalar:
    """E[softplus(-(real - fake))] over pairs of a real and a generated image, which is log 2 for equal logits.

    A constant added to all logits has no effect. Unlike the non-saturating loss, whose generator can gain by moving all
    images to one place, each real image is a boundary of its own.
    """
    return F.softplus(fake - real).mean()


def relativistic_pairing_generator_loss(real: Logits, fake: Logits) -> Scalar:
    """The discriminator loss with real and generated images exchanged: E[softplus(-(fake - real))].

    Only the logits of generated images have a gradient.
    """
    return relativistic_pairing_discriminator_loss(fake, real.detach())


NON_SATURATING = Objective(non_saturating_discriminator_loss, non_saturating_generator_loss, has_targets=True)
MINIMAX = Objective(non_saturating_discriminator_loss, minimax_generator_loss, has_targets=True)
HINGE = Objective(hinge_discriminator_loss, linear_generator_loss)
WASSERSTEIN = Objective(wasserstein_discriminator_loss, linear_generator_loss, chance_logit=None)
RELATIVISTIC_PAIRING = Objective(
    relativistic_pairing_discriminator_loss, relativistic_pairing_generator_loss, chance_logit=None
)


def least_squares(a: float, b: float, c: float) -> Objective:
    """The least-squares objective.

    Args:
        a: the discriminator's target for generated images.
        b: the discriminator's target for real images.
        c: the generator's target for generated images.

    Returns:
        The objective.
    """
    return Objective(
        partial(least_squares_discriminator_loss, a=a, b=b),
        partial(least_squares_generator_loss, c=c),
        has_targets=True,
        chance_logit=(a + b) / 2,
    )
