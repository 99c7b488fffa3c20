r"""Log-likelihoods of images under a decoder's distribution, and KL terms: exact sums per image, in nats.

A mean over pixels in place of the sum would change the weight of the KL term by the number of pixels and make the
ELBO incomparable with any paper.
"""

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lightning_gen.types import Images

PerImage = Float[Tensor, " batch"]
Moments = Float[Tensor, "batch latent"]


def bernoulli_log_likelihood(logits: Images, images: Images) -> PerImage:
    r"""Log p(x) = sum_i x_i l_i - softplus(l_i), independent Bernoulli pixels.

    For grey values strictly between 0 and 1 it is the customary relaxation (an unnormalised density).

    Args:
        logits: log-odds l of each pixel being 1.
        images: pixels x in [0, 1].

    Returns:
        Nats for each image.
    """
    return (images * logits - F.softplus(logits)).flatten(1).sum(1)


def gaussian_log_likelihood(mean: Images, log_sigma: Float[Tensor, ""], images: Images) -> PerImage:
    r"""Log p(x) = sum_i log N(x_i; m_i, sigma^2), one standard deviation for all pixels.

    Args:
        mean: the decoder's means m.
        log_sigma: log of the standard deviation, in units of the images' range.
        images: pixels x.

    Returns:
        Nats for each image; a density, which can be positive.
    """
    squares = ((images - mean) * (-log_sigma).exp()).square().flatten(1)
    return -0.5 * squares.sum(1) - squares.shape[1] * (log_sigma + 0.5 * math.log(2 * math.pi))


def gaussian_kl(mean: Moments, log_var: Moments) -> Moments:
    r"""KL(N(m_j, s_j^2) || N(0, 1)) = 1/2 (m_j^2 + s_j^2 - 1 - log s_j^2), which add up over independent dimensions.

    Kingma and Welling 2014, https://arxiv.org/abs/1312.6114, appendix B.

    Args:
        mean: m.
        log_var: log s^2.

    Returns:
        Nats for each dimension of each image, at least 0.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def gaussian_log_ratio(
    latents: Float[Tensor, "num batch latent"], mean: Moments, log_var: Moments
) -> Float[Tensor, "num batch"]:
    r"""Log N(z; 0, I) - log N(z; m, diag s^2) = 1/2 sum_j (z_j - m_j)^2 / s_j^2 + log s_j^2 - z_j^2.

    Args:
        latents: z, several for each image.
        mean: m.
        log_var: log s^2.

    Returns:
        Nats for each sample of each image.
    """
    return 0.5 * ((latents - mean).square() * (-log_var).exp() + log_var - latents.square()).sum(2)
