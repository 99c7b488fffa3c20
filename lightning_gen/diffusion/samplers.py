r"""Samplers: ways from noise to an image along a process, each a step from one time to the next in one loop.

A step knows the present image x_t, what the denoiser takes its clean image x_0 for, and so the noise that it implies,

    e = (x_t - alpha_t x_0) / sigma_t

All images of a batch are at one time, and nothing depends on batch-mates.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch

from lightning_gen.diffusion.processes import Denoise, Process
from lightning_gen.types import Images

Draw = Callable[[], Images]
"""Fresh standard normal noise of the images' shape."""


class Point(NamedTuple):
    """A time of the process, with everything that steps need of it, as numbers."""

    time: float
    alpha: float
    sigma: float
    clock: float
    scale: float

    @property
    def log_snr(self) -> float:
        """log(alpha / sigma), half the logarithm of the signal-to-noise ratio; infinite where there is no noise."""
        return math.log(self.alpha / self.sigma) if self.sigma > 0 else math.inf


def points_of(process: Process, times: Iterable[float]) -> list[Point]:
    """Look times up, all at once.

    Args:
        process: the process.
        times: in its own unit.

    Returns:
        Their points.
    """
    at = torch.tensor([*times], dtype=torch.float64)
    values = (at, *process.mixture(at), process.clock(at), process.scale(at))
    return [Point(*point) for point in zip(*(value.tolist() for value in values), strict=True)]


def point_of(process: Process, time: float) -> Point:
    """Look one time up."""
    return points_of(process, [time])[0]


class Sampler(ABC):
    """A way to take steps; one object samples one batch.

    Args:
        process: the noise process.
        denoise: the denoiser.
        draw: where fresh noise comes from; only stochastic samplers ask for it.

    Attributes:
        paced: whether it visits the times that it is given, and no others.
        stochastic: whether it draws fresh noise.
        clean: what the denoiser took x_0 for last.
    """

    paced: ClassVar[bool] = True
    stochastic: bool = False
    clean: Images

    def __init__(self, process: Process, denoise: Denoise, draw: Draw) -> None:
        self.process, self.denoise, self.draw = process, denoise, draw

    @abstractmethod
    def step(self, noisy: Images, now: Point, after: Point) -> Images:
        """Go from one time to the next, which has less noise.

        Args:
            noisy: x at the time ``now``.
            now: where it is.
            after: where to go.

        Returns:
            x at the time ``after``.
        """

    def walk(self, noisy: Images, times: Iterable[float]) -> Iterator[Images]:
        """Walk through times.

        Args:
            noisy: x at the first time.
            times: from more to less noise.

        Yields:
            x at each time after the first.
        """
        points = points_of(self.process, times)
        for now, after in pairwise(points):
            noisy = self.step(noisy, now, after)
            yield noisy

    def run(self, noisy: Images, times: Iterable[float]) -> Images:
        """Walk through times to the end.

        Args:
            noisy: x at the first time.
            times: from more to less noise.

        Returns:
            x at the last.
        """
        for after in self.walk(noisy, times):
            noisy = after
        return noisy

    def clean_at(self, noisy: Images, point: Point) -> Images:
        """What the denoiser takes x_0 for."""
        self.clean = self.denoise(noisy, noisy.new_full((len(noisy),), point.time))
        return self.clean


def implied_noise(noisy: Images, clean: Images, point: Point) -> Images:
    """The noise e = (x_t - alpha x_0) / sigma."""
    return (noisy - point.alpha * clean) / point.sigma


def posterior_sigma(now: Point, after: Point) -> float:
    r"""Standard deviation of q(x_s | x_t, x_0), s < t.

    sigma_s / sigma_t sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2)

    Args:
        now: t.
        after: s.

    Returns:
        The standard deviation of each pixel.
    """
    between = now.sigma**2 - (now.alpha / after.alpha) ** 2 * after.sigma**2
    return after.sigma / now.sigma * math.sqrt(max(0.0, between))


class Ancestral(Sampler):
    r"""DDPM's own sampler: draw x_s from q(x_s | x_t, x_0) (Ho et al. 2020, https://arxiv.org/abs/2006.11239, eq. 6-7).

    mean = a sigma_s^2 / sigma_t^2 x_t + alpha_s (sigma_t^2 - a^2 sigma_s^2) / sigma_t^2 x_0,    a = alpha_t / alpha_s
    """

    stochastic = True

    def step(self, noisy: Images, now: Point, after: Point) -> Images:
        """Draw from the posterior."""
        clean = self.clean_at(noisy, now)
        ratio = now.alpha / after.alpha
        share = ratio * after.sigma**2 / now.sigma**2
        mean = share * noisy + (after.alpha - share * now.alpha) * clean
        return mean + posterior_sigma(now, after) * self.draw() if after.sigma > 0 else mean


class DDIM(Sampler):
    r"""Song et al. 2021 (https://arxiv.org/abs/2010.02502, equation 12): the noise goes on, or part of it is redrawn.

    x_s = alpha_s x_0 + sqrt(sigma_s^2 - v^2) e + v z,    v = eta * the posterior's standard deviation

    Args:
        process: the noise process.
        denoise: the denoiser.
        draw: where fresh noise comes from.
        eta: 0 is deterministic, 1 the ancestral sampler.
    """

    def __init__(self, process: Process, denoise: Denoise, draw: Draw, eta: float = 0.0) -> None:
        super().__init__(process, denoise, draw)
        self.eta, self.stochastic = eta, eta > 0

    def step(self, noisy: Images, now: Point, after: Point) -> Images:
        """Put the image and the implied noise together for the next time."""
        clean = self.clean_at(noisy, now)
        fresh = self.eta * posterior_sigma(now, after) if after.sigma > 0 else 0.0
        kept = math.sqrt(max(0.0, after.sigma**2 - fresh**2))
        step = after.alpha * clean + kept * implied_noise(noisy, clean, now)
        return step + fresh * self.draw() if fresh else step


class DPMSolver(Sampler):
    r"""DPM-Solver++(2M), second order from the last two denoised images (Lu et al. 2022, https://arxiv.org/abs/2211.01095).

    With l = log(alpha / sigma), h the step in it and r the last step over this one (algorithm 2):

    x_s = sigma_s / sigma_t x_t - alpha_s (exp(-h) - 1) D,    D = x_0 + (x_0 - x_0') / 2r

    The first step and the last, to no noise, are of first order.
    """

    def __init__(self, process: Process, denoise: Denoise, draw: Draw) -> None:
        super().__init__(process, denoise, draw)
        self.before: tuple[Images, float] | None = None

    def step(self, noisy: Images, now: Point, after: Point) -> Images:
        """Extrapolate the denoised image."""
        clean = self.clean_at(noisy, now)
        size = after.log_snr - now.log_snr
        guess = clean
        if self.before is not None and math.isfinite(size):
            last, last_size = self.before
            guess = clean + (clean - last) * (size / (2 * last_size))
        self.before = clean, size
        return after.sigma / now.sigma * noisy - after.alpha * math.expm1(-size) * guess


class Euler(Sampler):
    """Straight steps along the probability flow, in the process's own coordinates; DDIM with eta 0 is the same."""

    def step(self, noisy: Images, now: Point, after: Point) -> Images:
        """Follow the slope; to no noise, it leads to the denoised image."""
        slope = self.slope(noisy, now)
        return self.move(noisy, now, after, slope) if after.sigma > 0 else self.clean

    def slope(self, noisy: Images, point: Point) -> Images:
        """The slope dy / dtau at a point."""
        clean = self.clean_at(noisy, point)
        return self.process.drift(clean, implied_noise(noisy, clean, point))

    def move(self, noisy: Images, now: Point, after: Point, slope: Images) -> Images:
        """Go straight from one point to another."""
        return after.scale * (noisy / now.scale + (after.clock - now.clock) * slope)


class Heun(Euler):
    """Second order: the mean of the slopes at both ends of a step (Karras et al. 2022, algorithm 1).

    The last step, to no noise, is Euler's: there the slope is not defined. Along a variance-preserving process, whose
    slope is the denoised image, this is DPM-Solver++(2S) with r = 1 (Lu et al. 2022, https://arxiv.org/abs/2211.01095).
    """

    def step(self, noisy: Images, now: Point, after: Point) -> Images:
        """Follow the mean of two slopes."""
        slope = self.slope(noisy, now)
        if after.sigma == 0:
            return self.clean
        guess = self.move(noisy, now, after, slope)
        return self.move(noisy, now, after, (slope + self.slope(guess, after)) / 2)


class ChurnedHeun(Heun):
    r"""Heun with noise added before each step (Karras et al. 2022, algorithm 2), for a variance-exploding process.

    t' = t (1 + g),    x' = x + sqrt(t'^2 - t^2) S_noise z,    g = min(S_churn / N, sqrt(2) - 1) for t in [S_min, S_max]

    Args:
        process: the noise process.
        denoise: the denoiser.
        draw: where fresh noise comes from.
        steps: N.
        churn: S_churn.
        least: S_min.
        most: S_max.
        inflation: S_noise.
    """

    stochastic = True

    def __init__(
        self,
        process: Process,
        denoise: Denoise,
        draw: Draw,
        steps: int = 18,
        churn: float = 40.0,
        least: float = 0.05,
        most: float = 50.0,
        inflation: float = 1.003,
    ) -> None:
        super().__init__(process, denoise, draw)
        self.growth = min(churn / steps, math.sqrt(2) - 1)
        self.least, self.most, self.inflation = least, most, inflation

    def step(self, noisy: Images, now: Point, after: Point) -> Images:
        """Add noise, then take Heun's step from there."""
        if not self.least <= now.sigma <= self.most:
            return super().step(noisy, now, after)
        more = point_of(self.process, now.time * (1 + self.growth))
        added = math.sqrt(more.sigma**2 - now.sigma**2) * self.inflation
        return super().step(noisy + added * self.draw(), more, after)


class Multistep(Sampler):
    """Denoise, and add fresh noise of the next level (Song et al. 2023, https://arxiv.org/abs/2303.01469, algorithm 1).

    It is for consistency models, whose denoiser goes to the image in one step; each further step corrects it.
    """

    stochastic = True

    def step(self, noisy: Images, now: Point, after: Point) -> Images:
        """Go to the image, and back to the next level."""
        clean = self.clean_at(noisy, now)
        return after.alpha * clean + after.sigma * self.draw() if after.sigma > 0 else clean
