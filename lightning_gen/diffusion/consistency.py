r"""Consistency training (Song et al. 2023, https://arxiv.org/abs/2303.01469).

It is done as Song and Dhariwal 2024 (https://arxiv.org/abs/2310.14189) improved it. A consistency function f(x; sigma)
takes every point of a path of the probability flow to the path's end, the image. It is learnt on pairs of neighbouring
levels: f at the noisier one should be what f is at the other. The levels become denser as training goes on, so that the
first steps have little variance and the last ones little bias.
"""

import math

from jaxtyping import Float
from torch import Tensor

from lightning_gen.diffusion.preconditioning import Levels, Preconditioning, preconditioning
from lightning_gen.diffusion.processes import Denoise, Times, over_images
from lightning_gen.errors import InputError
from lightning_gen.types import Images

Shares = Float[Tensor, " intervals"]


def boundary_preconditioning(sigma: Levels, sigma_data: float, sigma_min: float) -> Preconditioning:
    r"""EDM's coefficients, but for f(x; sigma_min) = x (Song et al. 2023, appendix C).

    c_skip = d^2 / ((sigma - sigma_min)^2 + d^2),    c_out = (sigma - sigma_min) d / sqrt(sigma^2 + d^2)

    Args:
        sigma: standard deviation of the noise of each image, at least ``sigma_min``, in units of [-1, 1].
        sigma_data: d, the standard deviation of a pixel of the data.
        sigma_min: the least level, above 0.

    Returns:
        c_skip, c_out, c_in and c_noise; the last two are EDM's own.
    """
    above = sigma - sigma_min
    return preconditioning(sigma, sigma_data)._replace(
        skip=sigma_data**2 / (above.square() + sigma_data**2),
        out=above * sigma_data / (sigma.square() + sigma_data**2).sqrt(),
    )


def num_intervals(images_seen: int, least: int, most: int, doubling_images: float) -> int:
    """How many intervals there are between levels: they double, up to the most (Song and Dhariwal 2024, section 3.4).

    Args:
        images_seen: how far training is.
        least: in the beginning.
        most: in the end.
        doubling_images: images after which they double.

    Returns:
        The number, one less than that of levels.
    """
    return min(most, least * 2 ** min(int(images_seen // doubling_images), 64))


def interval_shares(levels: Float[Tensor, " levels"], mean: float, std: float) -> Shares:
    r"""How often each interval is trained at: as often as a log-normal level falls into it.

    p_i = erf((log sigma_(i+1) - mean) / (sqrt(2) std)) - erf((log sigma_i - mean) / (sqrt(2) std)), normalized
    (Song and Dhariwal 2024, section 3.5)

    Args:
        levels: rising, above 0.
        mean: of the logarithm.
        std: of the logarithm.

    Returns:
        Shares whose sum is 1, float64.

    Raises:
        InputError: when none falls between the levels.
    """
    shares = (levels.double().log().sub(mean) / (math.sqrt(2) * std)).erf().diff()
    if not shares.sum() > 0:
        raise InputError(
            f"no training level lies between {levels[0]:g} and {levels[-1]:g}: see level_mean and level_std"
        )
    return shares / shares.sum()


def pseudo_huber(found: Images, wanted: Images) -> Float[Tensor, " batch"]:
    r"""sqrt(|x - y|^2 + c^2) - c with c = 0.00054 sqrt(d), d pixels (Song and Dhariwal 2024, section 3.3).

    As the Euclidean distance, it is no square: outliers count less.

    Args:
        found: images.
        wanted: what they should be.

    Returns:
        One distance an image.
    """
    error = (found - wanted).flatten(1)
    c = 0.00054 * math.sqrt(error.shape[1])
    return (error.square().sum(1) + c**2).sqrt() - c


def flow_step(denoise: Denoise, noisy: Images, now: Times, after: Times) -> Images:
    """A step of Heun's method along the flow of a variance-exploding process, each image between levels of its own.

    Args:
        denoise: E[x_0 | x].
        noisy: x at the level ``now``.
        now: standard deviation of the noise of each image.
        after: a lower one of each, above 0.

    Returns:
        x at the level ``after``.
    """

    def slope(images: Images, sigma: Times) -> Images:
        return (images - denoise(images, sigma)) / over_images(sigma)

    size = over_images(after - now)
    first = slope(noisy, now)
    return noisy + size * (first + slope(noisy + size * first, after)) / 2
