r"""Consistency training (Song et al. 2023, https://arxiv.org/abs/2303.01469).

With the improvements of Song and Dhariwal 2024 (https://arxiv.org/abs/2310.14189). A consistency function f(x; sigma)
maps every point of a trajectory of the probability flow to the end of the trajectory, the image. It is trained on pairs
of adjacent noise levels: f at the higher level is regressed on f at the lower one. The number of levels increases
during training, which trades variance at the start for bias at the end.
"""

import math

from jaxtyping import Float
from torch import Tensor

from lightning_gen.diffusion.processes import Denoise, Times, append_dims
from lightning_gen.errors import InputError
from lightning_gen.types import Images

Probabilities = Float[Tensor, " intervals"]


def num_intervals(images_seen: int, least: int, most: int, doubling_images: float) -> int:
    """The number of intervals between levels, which doubles up to a maximum (Song and Dhariwal 2024, section 3.4).

    Args:
        images_seen: number of images trained on.
        least: initial number.
        most: final number.
        doubling_images: number of images after which it doubles.

    Returns:
        The number of levels minus 1.
    """
    return min(most, least * 2 ** min(int(images_seen // doubling_images), 64))


def interval_probabilities(levels: Float[Tensor, " levels"], mean: float, std: float) -> Probabilities:
    r"""The probability of training on each interval: that of a log-normal level inside it.

    p_i = erf((log sigma_(i+1) - mean) / (sqrt(2) std)) - erf((log sigma_i - mean) / (sqrt(2) std)), normalized
    (Song and Dhariwal 2024, section 3.5)

    Args:
        levels: increasing levels above 0.
        mean: mean of the logarithm.
        std: standard deviation of the logarithm.

    Returns:
        float64 probabilities whose sum is 1.

    Raises:
        InputError: if all probabilities are 0.
    """
    mass = (levels.double().log().sub(mean) / (math.sqrt(2) * std)).erf().diff()
    if not mass.sum() > 0:
        raise InputError(
            f"no training level lies between {levels[0]:g} and {levels[-1]:g}: see level_mean and level_std"
        )
    return mass / mass.sum()


def pseudo_huber(images: Images, targets: Images) -> Float[Tensor, " batch"]:
    r"""sqrt(|x - y|^2 + c^2) - c with c = 0.00054 sqrt(d), d pixels (Song and Dhariwal 2024, section 3.3).

    Unlike the squared distance it grows linearly for large errors, which makes it robust to outliers.
    """
    error = (images - targets).flatten(1)
    c = 0.00054 * math.sqrt(error.shape[1])
    return (error.square().sum(1) + c**2).sqrt() - c


def heun_step(denoise: Denoise, noisy: Images, now: Times, after: Times) -> Images:
    """A step of Heun's method along the probability flow of a variance-exploding process, with one step per image.

    Args:
        denoise: the denoiser.
        noisy: x at the levels ``now``.
        now: standard deviation of the noise of each image.
        after: lower standard deviations, above 0.

    Returns:
        x at the levels ``after``.
    """

    def slope(images: Images, sigma: Times) -> Images:
        return (images - denoise(images, sigma)) / append_dims(sigma)

    size = append_dims(after - now)
    first = slope(noisy, now)
    return noisy + size * (first + slope(noisy + size * first, after)) / 2
