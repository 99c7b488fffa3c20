r"""Inpainting with an unconditional sampler: RePaint (Lugmayr et al. 2022, https://arxiv.org/abs/2201.09865).

After each step the known pixels are replaced by their noisy version (equation 8); m is 1 where a pixel is known:

    x_t = m (alpha_t x_0 + sigma_t e) + (1 - m) x_t'

The hole was denoised with other noise in the known pixels and is inconsistent with them. Therefore each segment of the
trajectory is repeated: from a time s the process goes back to a noisier time t,

    x_t = (alpha_t / alpha_s) x_s + sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2) z

and is denoised again (algorithm 1 and figure 9 of the paper, for any process x_t = alpha_t x_0 + sigma_t e).
"""

import math
from collections.abc import Sequence
from copy import copy
from itertools import pairwise

import torch
from jaxtyping import Bool
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.diffusion.samplers import Sampler, Timestep, make_timesteps
from lightning_gen.errors import InputError
from lightning_gen.types import Images

Mask = Bool[Tensor, "batch 1 height width"]
"""True for known pixels."""


def repaint(
    sampler: Sampler,
    images: Images,
    known: Mask,
    noisy: Images,
    times: Sequence[float],
    jump: int = 10,
    resamples: int = 10,
) -> Images:
    """Fill in the unknown pixels of images.

    Args:
        sampler: a bound sampler with fixed time steps.
        images: x_0; only the known pixels are used.
        known: mask of the known pixels.
        noisy: x at the first time.
        times: decreasing times, the last with sigma = 0.
        jump: number of steps of a segment.
        resamples: number of times that each segment is denoised; 1 for no resampling.

    Returns:
        The images, with known pixels unchanged.

    Raises:
        InputError: if the sampler is adaptive, or ``jump`` or ``resamples`` is out of range.
    """
    if not sampler.fixed_timesteps:
        raise InputError(
            "inpainting restores the known pixels after each step, and an adaptive sampler chooses its own steps; "
            "use another, e.g. euler or ancestral"
        )
    steps = make_timesteps(sampler.process, times)

    def restored(noisy: Images, at: Timestep) -> Images:
        kept = at.alpha * images
        return torch.where(known, kept + at.sigma * sampler.draw_noise() if at.sigma > 0 else kept, noisy)

    noisy = restored(noisy, steps[0])
    solver = copy(sampler)
    for before, here in pairwise(step_order(len(times) - 1, jump, resamples)):
        now, after = steps[before], steps[here]
        if here > before:
            noisy = restored(solver.step(noisy, now, after), after)
        else:
            noisy = add_process_noise(noisy, now, after, sampler.draw_noise())
            solver = copy(sampler)  # the state of a multistep method belongs to the old trajectory
    return noisy


def step_order(steps: int, jump: int, resamples: int) -> list[int]:
    """The order in which the time steps of a trajectory are visited.

    Args:
        steps: number of steps without resampling, from index 0, the noise, to index ``steps``, the image.
        jump: number of steps of a segment, counted from the last index with noise. The first segment may be shorter; it
            and the step to the image are visited once.
        resamples: number of times that each segment is visited.

    Returns:
        Indices of times, each one more than the previous, except for the jumps back.

    Raises:
        InputError: if a number is below 1, or ``jump`` is not below ``steps``.
    """
    check_at_least(1, jump=jump, resamples=resamples, prefix="")
    if resamples > 1 and jump >= steps:
        raise InputError(
            f"jump is {jump}; to go back it must be below the number of steps, which is {steps}; use more "
            "steps, or resamples 1"
        )
    order = [0]
    for index in range(1, steps + 1):
        order.append(index)
        begin = index - jump
        if index < steps and begin >= 0 and (steps - 1 - index) % jump == 0:
            order += [*range(begin, index + 1)] * (resamples - 1)
    return order


def add_process_noise(noisy: Images, now: Timestep, after: Timestep, noise: Images) -> Images:
    """Sample x at the noisier time ``after``, given x at the time ``now`` and standard normal noise."""
    ratio = after.alpha / now.alpha
    return ratio * noisy + math.sqrt(max(0.0, after.sigma**2 - ratio**2 * now.sigma**2)) * noise
