r"""Filling a hole in images by an unconditional sampler: RePaint (Lugmayr et al. 2022, https://arxiv.org/abs/2201.09865).

After each step the known pixels are put back, with the noise of the time (equation 8); m is 1 where a pixel is known:

    x_t = m (alpha_t x_0 + sigma_t e) + (1 - m) x_t'

The hole was then denoised beside known pixels of other noise, and does not go with them. So each stretch of the way is
walked several times: from a time s back up to an earlier, noisier t,

    x_t = (alpha_t / alpha_s) x_s + sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2) z

and down again (algorithm 1 and figure 9 of the paper, for any process x_t = alpha_t x_0 + sigma_t e).
"""

import math
from collections.abc import Sequence
from copy import copy
from itertools import pairwise

import torch
from jaxtyping import Bool
from torch import Tensor

from lightning_gen.diffusion.samplers import Point, Sampler, point_of
from lightning_gen.errors import InputError
from lightning_gen.types import Images

Mask = Bool[Tensor, "batch 1 height width"]
"""Which pixels are known."""


def repaint(
    sampler: Sampler,
    images: Images,
    known: Mask,
    noisy: Images,
    times: Sequence[float],
    jump: int = 10,
    resamples: int = 10,
) -> Images:
    """Fill the unknown pixels of images.

    Args:
        sampler: how steps are taken, and where fresh noise comes from; any that keeps to the times that it is given.
        images: x_0, of which only the known pixels are looked at.
        known: which they are.
        noisy: x at the first time.
        times: falling, the last of them without noise.
        jump: steps from one place where the way turns back to the next.
        resamples: how often the way between them is walked; without resampling 1.

    Returns:
        The images; known pixels are as they were.

    Raises:
        InputError: when the sampler chooses its own steps, or there is no such jump.
    """
    if not sampler.paced:
        raise InputError(
            "inpainting puts the known pixels back after each step, and an adaptive sampler takes its own; "
            "take another, e.g. euler or ancestral"
        )
    points = [point_of(sampler.process, time) for time in times]

    def restored(noisy: Images, point: Point) -> Images:
        kept = point.alpha * images
        return torch.where(known, kept + point.sigma * sampler.draw() if point.sigma > 0 else kept, noisy)

    noisy = restored(noisy, points[0])
    walker = copy(sampler)
    for before, here in pairwise(places(len(times) - 1, jump, resamples)):
        now, after = points[before], points[here]
        if here > before:
            noisy = restored(walker.step(noisy, now, after), after)
        else:
            noisy = noised(noisy, now, after, sampler.draw())
            walker = copy(sampler)  # what a multistep method remembers is of another path now
    return noisy


def places(steps: int, jump: int, resamples: int) -> list[int]:
    """The order in which the times of a way are visited.

    Args:
        steps: of the way without resampling, from place 0, the noise, to place ``steps``, the image.
        jump: steps of a stretch; they are counted from the last place that has noise, so that the first stretch may be
            shorter, and is then walked once, as is the step to the image.
        resamples: how often each stretch is walked.

    Returns:
        Places, each one more than the last, but for the jumps back.

    Raises:
        InputError: when a number is below 1, or there is no way to jump back.
    """
    for name, value in (("jump", jump), ("resamples", resamples)):
        if value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    if resamples > 1 and jump >= steps:
        raise InputError(
            f"jump is {jump}; to go back it must be below the number of steps, which is {steps}; take more "
            "steps, or resamples 1"
        )
    order = [0]
    for place in range(1, steps + 1):
        order.append(place)
        begin = place - jump
        if place < steps and begin >= 0 and (steps - 1 - place) % jump == 0:
            order += [*range(begin, place + 1)] * (resamples - 1)
    return order


def noised(noisy: Images, now: Point, after: Point, noise: Images) -> Images:
    """Go on with the process from one time to a noisier one.

    Args:
        noisy: x at the time ``now``.
        now: where it is.
        after: where to go.
        noise: standard normal.

    Returns:
        x at the time ``after``, drawn from the process given x at ``now``.
    """
    ratio = after.alpha / now.alpha
    return ratio * noisy + math.sqrt(max(0.0, after.sigma**2 - ratio**2 * now.sigma**2)) * noise
