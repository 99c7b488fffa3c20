r"""Variance schedules beta_t of T discrete times (Ho et al. 2020).

abar_t = prod_{s <= t} (1 - beta_s),    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e,    t = 0 ... T - 1

https://arxiv.org/abs/2006.11239.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from lightning_gen.errors import InputError

Schedule = Literal["linear", "cosine", "sigmoid"]
Betas = Float64[Tensor, " times"]
LARGEST_BETA = 0.999


def make_betas(schedule: Schedule, num_times: int) -> Betas:
    """Build a variance schedule.

    Args:
        schedule: ``linear``, ``cosine`` or ``sigmoid``.
        num_times: T, at least 2.

    Returns:
        beta_t, float64.

    Raises:
        InputError: if ``num_times`` is below 2.
    """
    if num_times < 2:
        raise InputError(f"a noise schedule has at least 2 times, not {num_times}")
    return SCHEDULES[schedule](num_times)


def linear_betas(num_times: int) -> Betas:
    """From 1e-4 to 0.02 at T = 1000, scaled by 1000 / T at others (Ho et al. 2020, https://arxiv.org/abs/2006.11239).

    Args:
        num_times: T.

    Returns:
        beta_t, float64.
    """
    scale = 1000 / num_times
    return torch.linspace(1e-4 * scale, 0.02 * scale, num_times, dtype=torch.float64).clamp(max=LARGEST_BETA)


def cosine_betas(num_times: int, offset: float = 0.008) -> Betas:
    r"""abar(u) = cos^2(pi/2 (u + s) / (1 + s)) / abar(0), u in [0, 1] (Nichol and Dhariwal 2021, equation 17).

    https://arxiv.org/abs/2102.09672.

    Args:
        num_times: T.
        offset: s, which prevents betas near 0 at the first times.

    Returns:
        beta_t, float64, at most 0.999.
    """
    return betas_from_abar(lambda u: ((u + offset) / (1 + offset) * math.pi / 2).cos().square(), num_times)


def sigmoid_betas(num_times: int, start: float = -3.0, end: float = 3.0, temperature: float = 1.0) -> Betas:
    r"""abar(u) = (sig(b) - sig(a + (b - a) u)) / (sig(b) - sig(a)), arguments over the temperature (Jabri et al. 2023).

    https://arxiv.org/abs/2212.11972, algorithm 2.

    Args:
        num_times: T.
        start: a.
        end: b.
        temperature: divisor of all arguments.

    Returns:
        beta_t, float64, at most 0.999.
    """

    def abar(u: Tensor) -> Tensor:
        last = torch.tensor(end / temperature, dtype=u.dtype).sigmoid()
        return last - ((start + (end - start) * u) / temperature).sigmoid()

    return betas_from_abar(abar, num_times)


def betas_from_abar(abar: Callable[[Tensor], Tensor], num_times: int) -> Betas:
    """The variances for a given abar(u).

    Args:
        abar: abar as a function of u in [0, 1], up to a constant factor.
        num_times: T.

    Returns:
        beta_t = 1 - abar((t + 1) / T) / abar(t / T), at most 0.999.
    """
    values = abar(torch.linspace(0, 1, num_times + 1, dtype=torch.float64))
    return (1 - values[1:] / values[:-1]).clamp(max=LARGEST_BETA)


SCHEDULES: dict[str, Callable[[int], Betas]] = {
    "linear": linear_betas,
    "cosine": cosine_betas,
    "sigmoid": sigmoid_betas,
}
