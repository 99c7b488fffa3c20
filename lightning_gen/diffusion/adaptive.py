r"""An adaptive solver of the probability flow: Dormand and Prince's pair of orders 5 and 4, as SciPy's RK45.

Dormand and Prince 1980, https://doi.org/10.1016/0771-050X(80)90013-3. Libraries choose one step for a whole batch, and
an image would then depend on its batch-mates; here each image has its own.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

import torch
from torch import Tensor

from lightning_gen.diffusion.processes import Denoise, Process, Times, over_images
from lightning_gen.diffusion.samplers import Point, Sampler
from lightning_gen.errors import InputError
from lightning_gen.types import Images

NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
WEIGHTS = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""The difference of the fifth-order and the fourth-order solution."""
SAFETY, LEAST_FACTOR, MOST_FACTOR = 0.9, 0.2, 5.0
MOST_TRIES = 10_000

Velocity = Callable[[Images, Times], Images]
State = tuple[Tensor, ...]
"""What is integrated: tensors with a row for each image."""


def velocity_of(process: Process, denoise: Denoise) -> Velocity:
    """The slope dx / dt of the probability flow of a process whose coordinates are the image's own (scale 1).

    Args:
        process: a variance-exploding process or a straight path.
        denoise: the denoiser.

    Returns:
        A function of noisy images and the time of each, above 0.
    """

    def velocity(images: Images, times: Times) -> Images:
        alpha, sigma = (over_images(share).to(images.dtype) for share in process.mixture(times))
        clean = denoise(images, times.to(images.dtype))
        return process.drift(clean, (images - alpha * clean) / sigma)

    return velocity


def check_double(device: torch.device) -> None:
    """Refuse a device that has no float64.

    Args:
        device: where it would be needed.

    Raises:
        InputError: on Apple's GPUs.
    """
    if device.type == "mps":
        raise InputError("adaptive steps and likelihoods need float64, which mps does not have; take --device cpu")


def integrate(
    slope: Callable[[State, Times], State],
    state: State,
    first: float,
    last: float,
    rtol: float = 1e-4,
    atol: float = 1e-4,
) -> tuple[State, int]:
    """Follow an ordinary differential equation, each row by its own steps.

    Args:
        slope: of a state and the time of each row, in the state's types.
        state: at the time ``first``.
        first: where to begin.
        last: where to end.
        rtol: error of a step that is allowed, relative to the values.
        atol: error that is allowed besides, in the values' unit. Of each part of the state the root of the mean square
            over its values counts, and of these the largest.

    Returns:
        The state at the time ``last``, and how often the slope was asked for.

    Raises:
        InputError: when a tolerance is not positive, a value not finite, the solver gets nowhere, or the device has no
            float64.
    """
    if min(rtol, atol) <= 0:
        raise InputError(f"rtol is {rtol} and atol {atol}; both must be above 0")
    check_double(state[0].device)
    times = torch.full((len(state[0]),), first, dtype=torch.float64, device=state[0].device)
    begin = min(abs(last - first) / 20, first or math.inf)  # near time 0 everything changes at the scale of time itself
    steps = torch.full_like(times, begin if last > first else -begin)
    now, calls = slope(state, times), 1
    for _ in range(MOST_TRIES):
        left = last - times
        if not (left != 0).any():
            return state, calls
        steps = torch.where(steps.abs() < left.abs(), steps, left)
        slopes = [now]
        for node, weights in zip(NODES[1:], WEIGHTS, strict=True):
            stage = tuple(
                part + rows(steps, part) * sum(weight * one[i] for weight, one in zip(weights, slopes, strict=True))
                for i, part in enumerate(state)
            )
            slopes.append(slope(stage, times + node * steps))
        calls += len(slopes) - 1
        size_of_error = torch.zeros_like(times)
        for i, (part, after) in enumerate(zip(state, stage, strict=True)):
            error = rows(steps, part) * sum(weight * one[i] for weight, one in zip(ERROR, slopes, strict=True))
            allowed = atol + rtol * torch.maximum(part.abs(), after.abs())
            of_part = (error / allowed).square().reshape(len(part), -1).mean(1).sqrt().double()
            size_of_error = torch.maximum(size_of_error, of_part)
        if not size_of_error.isfinite().all():
            raise InputError("the denoiser gave values that are not finite")
        good = size_of_error <= 1
        state = tuple(torch.where(rows(good, part), after, part) for part, after in zip(state, stage, strict=True))
        # the last slope of a step is the first of the next
        now = tuple(torch.where(rows(good, old), new, old) for old, new in zip(now, slopes[-1], strict=True))
        times = torch.where(good, torch.where(steps == left, torch.full_like(times, last), times + steps), times)
        factor = (SAFETY * size_of_error.clamp(min=1e-10) ** -0.2).clamp(LEAST_FACTOR, MOST_FACTOR)
        steps = steps * torch.where(good, factor, factor.clamp(max=1.0))
    raise InputError(f"the adaptive solver took {MOST_TRIES} steps and is not through; raise rtol and atol")


def rows(values: Tensor, part: Tensor) -> Tensor:
    """One value for each row, so that it goes with a part of the state; numbers in the part's type."""
    values = values if values.dtype == torch.bool else values.to(part.dtype)
    return values.reshape(-1, *[1] * (part.dim() - 1))


def solve(
    process: Process,
    denoise: Denoise,
    noisy: Images,
    first: float,
    last: float,
    rtol: float = 1e-4,
    atol: float = 1e-4,
) -> tuple[Images, int]:
    """Follow the probability flow of a process whose coordinates are the image's own (scale 1).

    Args:
        process: a variance-exploding process or a straight path.
        denoise: the denoiser.
        noisy: x at the time ``first``.
        first: where to begin.
        last: where to end; above 0, where the flow's slope is not defined.
        rtol: error of a step that is allowed, relative to the values.
        atol: error that is allowed besides, in units of [-1, 1].

    Returns:
        x at the time ``last``, and how often the denoiser was asked.

    Raises:
        InputError: when a tolerance is not positive, a value not finite, the solver gets nowhere, or the device has no
            float64.
    """
    velocity = velocity_of(process, denoise)

    def slope(state: State, times: Times) -> State:
        return (velocity(state[0], times),)

    [found], calls = integrate(slope, (noisy,), first, last, rtol, atol)
    return found, calls


class Adaptive(Sampler):
    """The probability flow by :func:`solve`, and from the least noise that it reaches the denoised image.

    It takes the first time that it is given, the last two, and whatever steps it needs between them.
    """

    paced: ClassVar[bool] = False

    def step(self, noisy: Images, now: Point, after: Point) -> Images:
        """Follow the flow, or denoise."""
        if after.sigma == 0:
            return after.alpha * self.clean_at(noisy, now)
        return solve(self.process, self.denoise, noisy, now.time, after.time)[0]

    def walk(self, noisy: Images, times: Iterable[float]) -> Iterator[Images]:
        """Walk from the first time to the last but one, and from there to the last."""
        first, *_, least, last = times
        return super().walk(noisy, (first, least, last))
