"""Classifier-free guidance (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598), on denoised images.

    D(x) = D(x | none) + w (D(x | y) - D(x | none))

which is the same combination of the noises or velocities that they imply. With w = 1 it is the conditional model, with
0 the unconditional one. Outside an interval of noise levels it does harm, and is left out there (Kynkaanniemi et al.
2024, https://arxiv.org/abs/2404.07724).
"""

from collections.abc import Callable

import torch

from lightning_gen.diffusion.processes import Denoise, Process, Times
from lightning_gen.types import Classes, Images

Conditional = Callable[[Images, Times, Classes], Images]
"""The clean images of noisy ones, of the time and the class of each."""


def guided(
    denoise: Conditional,
    process: Process,
    classes: Classes,
    scale: float = 1.0,
    interval: tuple[float, float] = (0.0, float("inf")),
) -> Denoise:
    """Fix the classes of a conditional denoiser, and guide it.

    Args:
        denoise: the denoiser.
        process: the noise process.
        classes: of the images that will be denoised; rows of zeros, which stand for none, are what guidance leads
            away from.
        scale: w.
        interval: the least and the largest noise (sigma / alpha) at which guidance acts, both included.

    Returns:
        A denoiser of images and times alone.
    """

    def plain(noisy: Images, times: Times) -> Images:
        return denoise(noisy, times, classes)

    def both(noisy: Images, times: Times) -> Images:
        alpha, sigma = process.mixture(times)
        noise = sigma / alpha  # infinite where there is nothing but noise
        acts = (interval[0] <= noise) & (noise <= interval[1])
        if not acts.any():
            return plain(noisy, times)
        none = torch.zeros_like(classes)
        with_class, without = denoise(noisy.repeat(2, 1, 1, 1), times.repeat(2), torch.cat([classes, none])).chunk(2)
        return torch.where(acts[:, None, None, None], without + scale * (with_class - without), with_class)

    return plain if scale == 1.0 else both
