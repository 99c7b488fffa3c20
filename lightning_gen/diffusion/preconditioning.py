r"""EDM's preconditioning (Karras et al. 2022, https://arxiv.org/abs/2206.00364, section 5 and table 1).

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)

so that a network F sees inputs of unit variance and is asked for targets of unit variance at every noise level:

    c_in = 1 / sqrt(sigma^2 + d^2),         c_skip = d^2 / (sigma^2 + d^2)
    c_out = sigma d / sqrt(sigma^2 + d^2),  c_noise = log(sigma) / 4

with d the standard deviation of the data. The error of D weighted by 1 / c_out^2 is the error of F.
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from lightning_gen.diffusion.processes import over_images
from lightning_gen.errors import InputError
from lightning_gen.types import Classes, Images

Levels = Float[Tensor, " batch"]
UNIT = 100
"""c_noise in the network's unit, of which a change of 1 should be seen: 4 % of the level."""


def check_levels(sigma_data: float, level_std: float, sigma_min: float, sigma_max: float) -> None:
    """Refuse numbers of a model of noise levels that are out of range.

    Args:
        sigma_data: standard deviation of a pixel of the data.
        level_std: that of the training levels' logarithm.
        sigma_min: the least level of drawing.
        sigma_max: the largest.

    Raises:
        InputError: when one is not above 0, or ``sigma_min`` not below ``sigma_max``.
    """
    if sigma_data <= 0 or level_std <= 0 or not 0 < sigma_min < sigma_max:
        raise InputError(
            f"model.sigma_data is {sigma_data}, level_std {level_std}, sigma_min {sigma_min} and sigma_max "
            f"{sigma_max}; all must be above 0, and sigma_min below sigma_max"
        )


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


def preconditioned(
    network: Callable[[Images, Levels, Classes | None], Tensor],
    coefficients: Preconditioning,
    noisy: Images,
    classes: Classes | None,
) -> Images:
    """D: a network between its coefficients.

    Args:
        network: F, of scaled images, c_noise in ``UNIT`` and classes.
        coefficients: at the images' levels.
        noisy: x.
        classes: rows of the classes, of a conditional model.

    Returns:
        c_skip x + c_out F(c_in x; c_noise), float32.
    """
    skip, out, into, noise = coefficients
    output = network(over_images(into) * noisy, UNIT * noise, classes).float()
    return over_images(skip) * noisy + over_images(out) * output
