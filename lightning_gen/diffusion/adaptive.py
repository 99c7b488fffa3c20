r"""An adaptive solver of the probability flow: the Dormand-Prince pair of orders 5 and 4, as in SciPy's RK45.

Dormand and Prince 1980, https://doi.org/10.1016/0771-050X(80)90013-3. Libraries choose one step size for a whole batch,
which makes an image depend on its batch-mates; here each image has its own step size.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_gen.diffusion.processes import Denoise, DiscreteDiffusion, Process, Times, append_dims
from lightning_gen.diffusion.samplers import Sampler, Timestep
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
SAFETY, MIN_FACTOR, MAX_FACTOR = 0.9, 0.2, 5.0
MAX_STEPS = 10_000

Velocity = Callable[[Images, Times], Images]
State = tuple[Tensor, ...]
"""The integrated tensors, each with one row per image."""


def velocity_of(process: Process, denoise: Denoise) -> Velocity:
    """The slope dx / dt of the probability flow of a process with scale 1, as a function of x_t and times above 0."""

    def velocity(images: Images, times: Times) -> Images:
        alpha, sigma = (append_dims(value).to(images.dtype) for value in process.alpha_sigma(times))
        clean = denoise(images, times.to(images.dtype))
        return process.drift(clean, (images - alpha * clean) / sigma)

    return velocity


def check_float64(device: torch.device) -> None:
    """Raise ``InputError`` on a device without float64 (mps)."""
    if device.type == "mps":
        raise InputError("adaptive steps and likelihoods need float64, which mps does not support; use --device cpu")


def integrate(
    slope: Callable[[State, Times], State],
    state: State,
    first: float,
    last: float,
    rtol: float = 1e-4,
    atol: float = 1e-4,
) -> tuple[State, int]:
    """Integrate an ordinary differential equation, with a step size per row.

    Args:
        slope: the derivative as a function of the state and the time of each row.
        state: the state at the time ``first``.
        first: start of the integration.
        last: end of the integration.
        rtol: relative tolerance of a step.
        atol: absolute tolerance of a step. The error of a row is the root mean square over the values of a tensor, and
            the maximum over the tensors of the state.

    Returns:
        The state at the time ``last``, and the number of evaluations of ``slope``.

    Raises:
        InputError: if a tolerance is not positive, a value is not finite, ``MAX_STEPS`` are exceeded, or the device has
            no float64.
    """
    if min(rtol, atol) <= 0:
        raise InputError(f"rtol is {rtol} and atol {atol}; both must be above 0")
    check_float64(state[0].device)
    times = torch.full((len(state[0]),), first, dtype=torch.float64, device=state[0].device)
    initial = min(
        abs(last - first) / 20, first or math.inf
    )  # near time 0 the solution changes on the scale of the time itself
    steps = torch.full_like(times, initial if last > first else -initial)
    now, calls = slope(state, times), 1
    for _ in range(MAX_STEPS):
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
        max_error = torch.zeros_like(times)
        for i, (part, after) in enumerate(zip(state, stage, strict=True)):
            error = rows(steps, part) * sum(weight * one[i] for weight, one in zip(ERROR, slopes, strict=True))
            tolerance = atol + rtol * torch.maximum(part.abs(), after.abs())
            part_error = (error / tolerance).square().reshape(len(part), -1).mean(1).sqrt().double()
            max_error = torch.maximum(max_error, part_error)
        if not max_error.isfinite().all():
            raise InputError("the denoiser returned values that are not finite")
        accepted = max_error <= 1
        state = tuple(torch.where(rows(accepted, part), after, part) for part, after in zip(state, stage, strict=True))
        # first same as last: the last slope of a step is the first of the next
        now = tuple(torch.where(rows(accepted, old), new, old) for old, new in zip(now, slopes[-1], strict=True))
        times = torch.where(accepted, torch.where(steps == left, torch.full_like(times, last), times + steps), times)
        factor = (SAFETY * max_error.clamp(min=1e-10) ** -0.2).clamp(MIN_FACTOR, MAX_FACTOR)
        steps = steps * torch.where(accepted, factor, factor.clamp(max=1.0))
    raise InputError(f"the adaptive solver did not finish in {MAX_STEPS} steps; increase rtol and atol")


def rows(values: Tensor, part: Tensor) -> Tensor:
    """Reshape one value per row so that it broadcasts over a tensor of the state, in the tensor's dtype."""
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
    """Integrate the probability flow of a process with scale 1 (variance-exploding or straight path).

    Args:
        process: the process.
        denoise: the denoiser.
        noisy: x at the time ``first``.
        first: start of the integration.
        last: end of the integration, above 0, where the slope is not defined.
        rtol: relative tolerance of a step.
        atol: absolute tolerance of a step, in units of [-1, 1].

    Returns:
        x at the time ``last``, and the number of evaluations of the denoiser.

    Raises:
        InputError: see :func:`integrate`.
    """
    velocity = velocity_of(process, denoise)

    def slope(state: State, times: Times) -> State:
        return (velocity(state[0], times),)

    [found], calls = integrate(slope, (noisy,), first, last, rtol, atol)
    return found, calls


@dataclass
class Adaptive(Sampler, name="adaptive"):
    """Solves the probability flow with :func:`solve`; at the lowest noise level it returns the denoised image.

    Of the given times it uses the first and the last two, and chooses its own steps in between.
    """

    fixed_timesteps: ClassVar[bool] = False

    @classmethod
    def supports(cls, process: Process) -> bool:
        """A process with scale 1."""
        return not isinstance(process, DiscreteDiffusion)

    def step(self, noisy: Images, now: Timestep, after: Timestep) -> Images:
        """Integrate the flow, or denoise."""
        if after.sigma == 0:
            return after.alpha * self.predict_x0(noisy, now)
        return solve(self.process, self.denoise, noisy, now.time, after.time)[0]

    def walk(self, noisy: Images, times: Iterable[float]) -> Iterator[Images]:
        """Step from the first time to the last but one, and from there to the last."""
        first, *_, lowest, last = times
        return super().walk(noisy, (first, lowest, last))
