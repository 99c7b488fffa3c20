r"""Adversarial objectives as pairs of functions of the discriminator's logits.

With :math:`D = \sigma(l)` the probability that an image with logit l is real:

* non-saturating (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, section 3):
  :math:`L_D = -E[\log D(x)] - E[\log(1 - D(G(z)))]`, :math:`L_G = -E[\log D(G(z))]`.

At the equilibrium D = 1/2 the discriminator's loss is 2 log 2 and the generator's is log 2 (nats).
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Logits = Float[Tensor, " batch"]
Scalar = Float[Tensor, ""]


def non_saturating_discriminator(real: Logits, fake: Logits) -> Scalar:
    """Cross entropy of telling real from generated, in nats: E[softplus(-real)] + E[softplus(fake)].

    Args:
        real: logits of real images.
        fake: logits of generated images.

    Returns:
        The loss, at least 0.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def non_saturating_generator(fake: Logits) -> Scalar:
    """The non-saturating generator loss, in nats: E[softplus(-fake)].

    Its gradient does not vanish where the discriminator is sure (fake << 0), as that of log(1 - D) does.

    Args:
        fake: logits of generated images.

    Returns:
        The loss, at least 0.
    """
    return F.softplus(-fake).mean()
