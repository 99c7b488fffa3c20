r"""Samplers: solvers that step along a noise process from noise to an image.

A sampler is a dataclass of its options and defines a step from one time to the next; the loop exists once. A step uses
the current x_t, the denoised image x_0 and the noise that it implies,

    e = (x_t - alpha_t x_0) / sigma_t

All images of a batch are at the same time, and an image does not depend on its batch-mates.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch

from lightning_gen.checks import check_at_least
from lightning_gen.diffusion.processes import Denoise, Process, StraightPath, VarianceExploding
from lightning_gen.errors import InputError
from lightning_gen.types import Images

DrawNoise = Callable[[], Images]
"""Draws fresh standard normal noise of the images' shape."""
SAMPLERS: dict[str, type["Sampler"]] = {}
"""Every sampler by its name; a subclass of :class:`Sampler` with a name adds itself."""


class Timestep(NamedTuple):
    """A time of a process and the process's values there, as numbers."""

    time: float
    alpha: float
    sigma: float
    tau: float
    scale: float

    @property
    def log_snr(self) -> float:
        """log(alpha / sigma), half the logarithm of the signal-to-noise ratio; infinite if sigma is 0."""
        return math.log(self.alpha / self.sigma) if self.sigma > 0 else math.inf


def make_timesteps(process: Process, times: Iterable[float]) -> list[Timestep]:
    """Evaluate a process at several times."""
    at = torch.tensor([*times], dtype=torch.float64)
    values = (at, *process.alpha_sigma(at), process.tau(at), process.scale(at))
    return [Timestep(*step) for step in zip(*(value.tolist() for value in values), strict=True)]


def make_timestep(process: Process, time: float) -> Timestep:
    """Evaluate a process at one time."""
    return make_timesteps(process, [time])[0]


def implied_noise(noisy: Images, clean: Images, at: Timestep) -> Images:
    """The noise e = (x_t - alpha x_0) / sigma."""
    return (noisy - at.alpha * clean) / at.sigma


def posterior_sigma(now: Timestep, after: Timestep) -> float:
    r"""Standard deviation of q(x_s | x_t, x_0), with t = ``now`` and s = ``after``.

    sigma_s / sigma_t sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2)
    """
    between = now.sigma**2 - (now.alpha / after.alpha) ** 2 * after.sigma**2
    return after.sigma / now.sigma * math.sqrt(max(0.0, between))


@dataclass
class Sampler(ABC):
    """Base class of samplers. The arguments of a sampler are its options, validated on construction.

    :meth:`bind` gives a copy for one batch of images, which can take steps.

    Attributes:
        fixed_timesteps: whether it visits exactly the given times; False for an adaptive sampler.
        process: the noise process, once bound.
        denoise: the denoiser, once bound.
        draw_noise: source of fresh noise, once bound.
        clean: the last denoised images.
    """

    fixed_timesteps: ClassVar[bool] = True
    process: Process = field(init=False, repr=False, compare=False)
    denoise: Denoise = field(init=False, repr=False, compare=False)
    draw_noise: DrawNoise = field(init=False, repr=False, compare=False)
    clean: Images = field(init=False, repr=False, compare=False)

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name:
            SAMPLERS[name] = cls

    @classmethod
    def supports(cls, process: Process) -> bool:
        """Whether the sampler can be used with a process."""
        return True

    @property
    def stochastic(self) -> bool:
        """Whether fresh noise is drawn."""
        return False

    @abstractmethod
    def step(self, noisy: Images, now: Timestep, after: Timestep) -> Images:
        """Compute x at the time ``after`` from x at the time ``now``, which has more noise."""

    def bind(self, process: Process, denoise: Denoise, draw_noise: DrawNoise) -> "Sampler":
        """A copy that samples one batch.

        Args:
            process: the noise process.
            denoise: the denoiser.
            draw_noise: source of fresh noise; only stochastic samplers call it.

        Returns:
            The bound sampler.
        """
        bound = copy(self)
        bound.process, bound.denoise, bound.draw_noise = process, denoise, draw_noise
        bound.reset()
        return bound

    def reset(self) -> None:  # noqa: B027
        """Forget previous steps; called before the first step of a batch."""

    def walk(self, noisy: Images, times: Iterable[float]) -> Iterator[Images]:
        """Step through times.

        Args:
            noisy: x at the first time.
            times: decreasing times.

        Yields:
            x at each time after the first.
        """
        for now, after in pairwise(make_timesteps(self.process, times)):
            noisy = self.step(noisy, now, after)
            yield noisy

    def run(self, noisy: Images, times: Iterable[float]) -> Images:
        """Step through decreasing times from x at the first, and return x at the last."""
        for after in self.walk(noisy, times):
            noisy = after
        return noisy

    def predict_x0(self, noisy: Images, at: Timestep) -> Images:
        """Denoise images, and keep the result in ``clean``."""
        self.clean = self.denoise(noisy, noisy.new_full((len(noisy),), at.time))
        return self.clean


def option_names(sampler: type[Sampler]) -> set[str]:
    """The names of a sampler's options."""
    return {option.name for option in fields(sampler) if option.init}


def make_sampler(name: str, **options: Any) -> Sampler:
    """Make a sampler from its name in ``SAMPLERS``.

    Args:
        name: the name.
        **options: the sampler's options; None takes the sampler's default.

    Returns:
        The sampler, not yet bound to a batch.

    Raises:
        InputError: if the sampler does not have an option, or its value is out of range.
    """
    given = {option: value for option, value in options.items() if value is not None}
    for option in sorted(given.keys() - option_names(SAMPLERS[name])):
        raise InputError(f"the sampler {name} has no {option}; leave it out")
    return SAMPLERS[name](**given)


@dataclass
class Ancestral(Sampler, name="ancestral"):
    r"""DDPM's ancestral sampling from q(x_s | x_t, x_0) (Ho et al. 2020, https://arxiv.org/abs/2006.11239, eq. 6-7).

    mean = a sigma_s^2 / sigma_t^2 x_t + alpha_s (sigma_t^2 - a^2 sigma_s^2) / sigma_t^2 x_0,    a = alpha_t / alpha_s
    """

    @property
    def stochastic(self) -> bool:
        """True."""
        return True

    def step(self, noisy: Images, now: Timestep, after: Timestep) -> Images:
        """Sample from the posterior."""
        clean = self.predict_x0(noisy, now)
        ratio = now.alpha / after.alpha
        weight = ratio * after.sigma**2 / now.sigma**2
        mean = weight * noisy + (after.alpha - weight * now.alpha) * clean
        return mean + posterior_sigma(now, after) * self.draw_noise() if after.sigma > 0 else mean


@dataclass
class DDIM(Sampler, name="ddim"):
    r"""Denoising diffusion implicit models (Song et al. 2021, https://arxiv.org/abs/2010.02502, equation 12).

    x_s = alpha_s x_0 + sqrt(sigma_s^2 - v^2) e + v z,    v = eta * the posterior's standard deviation

    Attributes:
        eta: 0 is deterministic, 1 is ancestral sampling.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise InputError(f"eta is {self.eta}; it must lie between 0 (deterministic) and 1 (ancestral sampling)")

    @property
    def stochastic(self) -> bool:
        """Whether eta is above 0."""
        return self.eta > 0

    def step(self, noisy: Images, now: Timestep, after: Timestep) -> Images:
        """Combine the denoised image, the implied noise and fresh noise."""
        clean = self.predict_x0(noisy, now)
        fresh = self.eta * posterior_sigma(now, after) if after.sigma > 0 else 0.0
        kept = math.sqrt(max(0.0, after.sigma**2 - fresh**2))
        step = after.alpha * clean + kept * implied_noise(noisy, clean, now)
        return step + fresh * self.draw_noise() if fresh else step


@dataclass
class DPMSolver(Sampler, name="dpm_solver"):
    r"""DPM-Solver++(2M), second order from two denoised images (Lu et al. 2022, https://arxiv.org/abs/2211.01095).

    With l = log(alpha / sigma), h the step in l and r the previous step divided by h (algorithm 2):

    x_s = sigma_s / sigma_t x_t - alpha_s (exp(-h) - 1) D,    D = x_0 + (x_0 - x_0') / 2r

    The first step, and the last one to sigma = 0, are first order.
    """

    previous: tuple[Images, float] | None = field(init=False, repr=False, compare=False, default=None)
    """The denoised image of the previous step, and its size in l."""

    @classmethod
    def supports(cls, process: Process) -> bool:
        """A process with alpha > 0 everywhere; log(alpha / sigma) of a straight path is infinite at the noise."""
        return not isinstance(process, StraightPath)

    def reset(self) -> None:
        """Forget the previous step."""
        self.previous = None

    def step(self, noisy: Images, now: Timestep, after: Timestep) -> Images:
        """Extrapolate the denoised image."""
        clean = self.predict_x0(noisy, now)
        size = after.log_snr - now.log_snr
        estimate = clean
        if self.previous is not None and math.isfinite(size):
            last, last_size = self.previous
            estimate = clean + (clean - last) * (size / (2 * last_size))
        self.previous = clean, size
        return after.sigma / now.sigma * noisy - after.alpha * math.expm1(-size) * estimate


@dataclass
class Euler(Sampler, name="euler"):
    """Euler's method along the probability flow, in the coordinates of the process; equals DDIM with eta 0."""

    def step(self, noisy: Images, now: Timestep, after: Timestep) -> Images:
        """Follow the slope; a step to sigma = 0 gives the denoised image."""
        slope = self.slope(noisy, now)
        return self.move(noisy, now, after, slope) if after.sigma > 0 else self.clean

    def slope(self, noisy: Images, at: Timestep) -> Images:
        """The slope dy / dtau."""
        clean = self.predict_x0(noisy, at)
        return self.process.drift(clean, implied_noise(noisy, clean, at))

    def move(self, noisy: Images, now: Timestep, after: Timestep, slope: Images) -> Images:
        """Move along a straight line in y = x / scale."""
        return after.scale * (noisy / now.scale + (after.tau - now.tau) * slope)


@dataclass
class Heun(Euler, name="heun"):
    """Heun's second-order method: the mean of the slopes at both ends of a step (Karras et al. 2022, algorithm 1).

    The last step, to sigma = 0, is Euler's, because the slope is not defined there. For a variance-preserving process,
    whose slope is the denoised image, this is DPM-Solver++(2S) with r = 1 (Lu et al. 2022,
    https://arxiv.org/abs/2211.01095).
    """

    def step(self, noisy: Images, now: Timestep, after: Timestep) -> Images:
        """Follow the mean of two slopes."""
        slope = self.slope(noisy, now)
        if after.sigma == 0:
            return self.clean
        predicted = self.move(noisy, now, after, slope)
        return self.move(noisy, now, after, (slope + self.slope(predicted, after)) / 2)


@dataclass
class StochasticHeun(Heun, name="stochastic_heun"):
    r"""Heun's method with noise added before each step (Karras et al. 2022, algorithm 2).

    t' = t (1 + g),    x' = x + sqrt(t'^2 - t^2) S_noise z,    g = min(S_churn / N, sqrt(2) - 1) for t in [S_min, S_max]

    Attributes:
        steps: N, the number of steps.
        churn: S_churn.
        churn_min: S_min.
        churn_max: S_max.
        noise_scale: S_noise.
    """

    steps: int = 18
    churn: float = 40.0
    churn_min: float = 0.05
    churn_max: float = 50.0
    noise_scale: float = 1.003

    def __post_init__(self) -> None:
        check_at_least(1, steps=self.steps, prefix="")
        check_at_least(0, churn=self.churn, prefix="")

    @classmethod
    def supports(cls, process: Process) -> bool:
        """A variance-exploding process."""
        return isinstance(process, VarianceExploding)

    @property
    def stochastic(self) -> bool:
        """True."""
        return True

    def step(self, noisy: Images, now: Timestep, after: Timestep) -> Images:
        """Add noise, then take a step of Heun's method."""
        if not self.churn_min <= now.sigma <= self.churn_max:
            return super().step(noisy, now, after)
        growth = min(self.churn / self.steps, math.sqrt(2) - 1)
        noisier = make_timestep(self.process, now.time * (1 + growth))
        added = math.sqrt(noisier.sigma**2 - now.sigma**2) * self.noise_scale
        return super().step(noisy + added * self.draw_noise(), noisier, after)


@dataclass
class Multistep(Sampler, name="multistep"):
    """Multistep consistency sampling (Song et al. 2023, https://arxiv.org/abs/2303.01469, algorithm 1).

    Each step denoises to the image and adds fresh noise of the next level. Only consistency models support it.
    """

    @classmethod
    def supports(cls, process: Process) -> bool:
        """No process by itself: the denoiser has to be a consistency function."""
        return False

    @property
    def stochastic(self) -> bool:
        """True."""
        return True

    def step(self, noisy: Images, now: Timestep, after: Timestep) -> Images:
        """Denoise, and add noise of the next level."""
        clean = self.predict_x0(noisy, now)
        return after.alpha * clean + after.sigma * self.draw_noise() if after.sigma > 0 else clean
