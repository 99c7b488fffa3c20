r"""EDM's preconditioning (Karras et al. 2022, https://arxiv.org/abs/2206.00364, section 5 and table 1).

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)

so that a network F sees inputs of unit variance and is asked for targets of unit variance at every noise level:

    c_in = 1 / sqrt(sigma^2 + d^2),         c_skip = d^2 / (sigma^2 + d^2)
    c_out = sigma d / sqrt(sigma^2 + d^2),  c_noise = log(sigma) / 4

with d the standard deviation of the data. The error of D weighted by 1 / c_out^2 is the error of F.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

Levels = Float[Tensor, " batch"]


class Preconditioning(NamedTuple):
    """The coefficients at some noise levels."""

    skip: Levels
    out: Levels
    into: Levels
    noise: Levels


def preconditioning(sigma: Levels, sigma_data: float) -> Preconditioning:
    """The coefficients of noise levels.

    Args:
        sigma: standard deviation of the noise of each image, above 0, in units of [-1, 1].
        sigma_data: d, the standard deviation of a pixel of the data.

    Returns:
        c_skip, c_out, c_in and c_noise.
    """
    total = sigma.square() + sigma_data**2
    return Preconditioning(
        skip=sigma_data**2 / total,
        out=sigma * sigma_data / total.sqrt(),
        into=total.rsqrt(),
        noise=sigma.log() / 4,
    )
