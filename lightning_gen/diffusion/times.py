"""Which times a sampler visits, from noise to image."""

import math
from typing import Literal

import torch

from lightning_gen.errors import InputError

Spacing = Literal["leading", "trailing", "linspace"]
RHO = {"karras": 7.0, "quartic": 4.0, "exponential": math.inf}
"""How noise levels lie: with even seventh roots (Karras et al. 2022), even fourth roots, or even logarithms."""


def discrete_times(num_times: int, steps: int, spacing: Spacing = "trailing") -> list[float]:
    """Times of a process that has T of them (Lin et al. 2024, https://arxiv.org/abs/2305.08891, table 2).

    Args:
        num_times: T.
        steps: how many to visit.
        spacing: ``leading`` ends at time 0 and misses the last, ``trailing`` begins at the last, ``linspace`` has both.

    Returns:
        Falling times, and -1, the image.

    Raises:
        InputError: when there are fewer times than steps.
    """
    if not 1 <= steps <= num_times:
        raise InputError(
            f"steps is {steps}; the model's schedule has {num_times} times, so from 1 to {num_times} will do"
        )
    if spacing == "leading":
        times = torch.arange(steps).mul(num_times // steps).flip(0)
    elif spacing == "trailing":
        times = torch.arange(num_times, 0, -num_times / steps, dtype=torch.float64).round()[:steps] - 1
    else:
        times = torch.linspace(num_times - 1, 0, steps, dtype=torch.float64).round()  # a single step: from the last
    return [*times.double().tolist(), -1.0]


def level_times(steps: int, least: float, most: float, rho: float = 7.0) -> list[float]:
    r"""Noise levels (Karras et al. 2022, https://arxiv.org/abs/2206.00364, equation 5), and 0.

    sigma_i = (most^(1 / rho) + i / (N - 1) (least^(1 / rho) - most^(1 / rho)))^rho,    i = 0 ... N - 1

    Args:
        steps: N.
        least: the last level above 0.
        most: the first.
        rho: how much denser they are at the end; with infinity, their logarithms are even.

    Returns:
        Falling levels, and 0.

    Raises:
        InputError: when there is no step.
    """
    check_steps(steps)
    share = torch.linspace(0, 1, steps, dtype=torch.float64)
    if math.isinf(rho):
        levels = most * (least / most) ** share
    else:
        first, last = most ** (1 / rho), least ** (1 / rho)
        levels = (first + share * (last - first)) ** rho
    return [*levels.tolist(), 0.0]


def path_times(steps: int, shift: float = 1.0) -> list[float]:
    """Times of a straight path from 1 to 0, even or shifted: s t / (1 + (s - 1) t).

    Esser et al. 2024, https://arxiv.org/abs/2403.03206, equation 23.

    Args:
        steps: how many steps.
        shift: s; above 1 more of them are spent where there is more noise.

    Returns:
        steps + 1 falling times.

    Raises:
        InputError: when there is no step, or the shift is not positive.
    """
    check_steps(steps)
    if not shift > 0:
        raise InputError(f"shift is {shift}; it must be above 0")
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return (shift * times / (1 + (shift - 1) * times)).tolist()


def check_steps(steps: int) -> None:
    """Refuse to sample without a step.

    Args:
        steps: how many.

    Raises:
        InputError: when there are none.
    """
    if steps < 1:
        raise InputError(f"steps is {steps}; it must be at least 1")
