"""The times that a sampler visits, from noise to image."""

import math
from typing import Literal

import torch

from lightning_gen.checks import check_above, check_at_least
from lightning_gen.errors import InputError

Spacing = Literal["leading", "trailing", "linspace"]
RHO = {"karras": 7.0, "quartic": 4.0, "exponential": math.inf}
"""Exponent rho of each spacing of noise levels: rho-th roots are evenly spaced (logarithms for infinity)."""


def discrete_times(num_times: int, steps: int, spacing: Spacing = "trailing") -> list[float]:
    """Times of a process with T discrete times (Lin et al. 2024, https://arxiv.org/abs/2305.08891, table 2).

    Args:
        num_times: T.
        steps: number of times to visit.
        spacing: ``leading`` ends at time 0, ``trailing`` starts at time T - 1, ``linspace`` does both.

    Returns:
        Decreasing times, followed by -1, the image.

    Raises:
        InputError: if there are fewer times than steps.
    """
    if not 1 <= steps <= num_times:
        raise InputError(
            f"steps is {steps}; the model's schedule has {num_times} times, so it must be from 1 to {num_times}"
        )
    if spacing == "leading":
        times = torch.arange(steps).mul(num_times // steps).flip(0)
    elif spacing == "trailing":
        times = torch.arange(num_times, 0, -num_times / steps, dtype=torch.float64).round()[:steps] - 1
    else:
        times = torch.linspace(
            num_times - 1, 0, steps, dtype=torch.float64
        ).round()  # a single step starts at the last time
    return [*times.double().tolist(), -1.0]


def level_times(steps: int, least: float, most: float, rho: float = 7.0) -> list[float]:
    r"""Noise levels (Karras et al. 2022, https://arxiv.org/abs/2206.00364, equation 5), and 0.

    sigma_i = (most^(1 / rho) + i / (N - 1) (least^(1 / rho) - most^(1 / rho)))^rho,    i = 0 ... N - 1

    Args:
        steps: N.
        least: the lowest level above 0.
        most: the highest level.
        rho: the larger, the denser the low levels; infinity spaces the logarithms evenly.

    Returns:
        Decreasing levels, followed by 0.

    Raises:
        InputError: if ``steps`` is below 1.
    """
    check_at_least(1, steps=steps, prefix="")
    fraction = torch.linspace(0, 1, steps, dtype=torch.float64)
    if math.isinf(rho):
        levels = most * (least / most) ** fraction
    else:
        first, last = most ** (1 / rho), least ** (1 / rho)
        levels = (first + fraction * (last - first)) ** rho
    return [*levels.tolist(), 0.0]


def path_times(steps: int, shift: float = 1.0) -> list[float]:
    """Times of a straight path from 1 to 0, evenly spaced or shifted: s t / (1 + (s - 1) t).

    Esser et al. 2024, https://arxiv.org/abs/2403.03206, equation 23.

    Args:
        steps: number of steps.
        shift: s; values above 1 take more steps at high noise.

    Returns:
        steps + 1 decreasing times.

    Raises:
        InputError: if ``steps`` is below 1 or ``shift`` not above 0.
    """
    check_at_least(1, steps=steps, prefix="")
    check_above(0, shift=shift, prefix="")
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return (shift * times / (1 + (shift - 1) * times)).tolist()
