"""Classifier-free guidance (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598), on denoised images.

    D(x) = D(x | none) + w (D(x | y) - D(x | none))

which is the same combination of the noises or velocities that they imply. With w = 1 it is the conditional model, with
0 the unconditional one. Outside an interval of noise levels it does harm, and is left out there (Kynkaanniemi et al.
2024, https://arxiv.org/abs/2404.07724).
"""

from collections.abc import Callable

import torch

from lightning_gen.diffusion.processes import Process, Times
from lightning_gen.diffusion.samplers import Denoise
from lightning_gen.types import Images, Labels

Conditional = Callable[[Images, Times, Labels], Images]
"""The clean images of noisy ones, of the times and classes of each."""


def guided(
    denoise: Conditional,
    process: Process,
    labels: Labels,
    no_label: int,
    scale: float = 1.0,
    interval: tuple[float, float] = (0.0, float("inf")),
) -> Denoise:
    """Fix the classes of a conditional denoiser, and guide it.

    Args:
        denoise: the denoiser.
        process: the noise process, whose clock measures the noise.
        labels: the classes of the images that will be denoised.
        no_label: the class that stands for none.
        scale: w.
        interval: the least and the largest noise (sigma / alpha) at which guidance acts, both included.

    Returns:
        A denoiser of images and times alone.
    """

    def plain(noisy: Images, times: Times) -> Images:
        return denoise(noisy, times, labels)

    def both(noisy: Images, times: Times) -> Images:
        alpha, sigma = process.mixture(times)
        noise = sigma / alpha  # infinite where there is nothing but noise
        acts = (interval[0] <= noise) & (noise <= interval[1])
        if not acts.any():
            return plain(noisy, times)
        none = torch.full_like(labels, no_label)
        with_label, without = denoise(noisy.repeat(2, 1, 1, 1), times.repeat(2), torch.cat([labels, none])).chunk(2)
        return torch.where(acts[:, None, None, None], without + scale * (with_label - without), with_label)

    return plain if scale == 1.0 else both
