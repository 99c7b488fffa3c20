"""Reproducible random numbers: seeds by purpose, and one generator per image.

A seed is the hash of a tuple of integers, so (seed, rank, batch) or (seed, image) define a random stream without any
state to save, and different tuples give different streams. With one generator per image, image i depends neither on the
batch size nor on the number of processes.
"""

from collections.abc import Callable, Iterable
from functools import partial
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from lightning_gen.types import RandomSource


def mix_seed(*parts: int | str) -> int:
    """Hash non-negative integers and strings to a seed in [0, 2^63), by NumPy's SeedSequence."""
    entropy = [crc32(part.encode()) if isinstance(part, str) else part for part in parts]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_global(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of one device; seeding all devices takes milliseconds."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def image_generators(seed: int, indices: Iterable[int]) -> list[torch.Generator]:
    """One CPU generator per image, seeded by (seed, index of the image)."""
    return [torch.Generator().manual_seed(mix_seed(seed, index)) for index in indices]


def randn(num: int, *shape: int, generator: RandomSource = None, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal noise ``(num, *shape)``, row i from the i-th generator if there are several.

    Args:
        num: number of rows.
        *shape: shape of a row.
        generator: one for all rows, one per row, or None for torch's global generator on ``device``.
        device: device of the result; CPU generators draw on the CPU, so that a seed gives the same numbers on every
            device.

    Returns:
        float32 noise on ``device``.

    Raises:
        ValueError: if the number of generators is not ``num``.
    """
    return _rows(torch.randn, num, shape, generator, device)


def uniform(num: int, *shape: int, generator: RandomSource = None, device: torch.device | str = "cpu") -> Tensor:
    """Noise ``(num, *shape)`` uniform on [0, 1), row i from the i-th generator if there are several.

    Args:
        num: number of rows.
        *shape: shape of a row.
        generator: as in :func:`randn`.
        device: as in :func:`randn`.

    Returns:
        float32 noise on ``device``.

    Raises:
        ValueError: if the number of generators is not ``num``.
    """
    return _rows(torch.rand, num, shape, generator, device)


def integers(num: int, high: int, *, generator: RandomSource = None, device: torch.device | str = "cpu") -> Tensor:
    """Uniform integers in [0, high), the i-th from the i-th generator if there are several.

    Args:
        num: number of integers.
        high: exclusive upper bound.
        generator: as in :func:`randn`.
        device: as in :func:`randn`.

    Returns:
        int64 (num) on ``device``.

    Raises:
        ValueError: if the number of generators is not ``num``.
    """
    return _rows(partial(torch.randint, high), num, (), generator, device)


def _rows(
    draw: Callable[..., Tensor],
    num: int,
    shape: tuple[int, ...],
    generator: RandomSource,
    device: torch.device | str,
) -> Tensor:
    """Draw ``(num, *shape)``, row i from the i-th generator if there are several."""
    if generator is None:
        return draw((num, *shape), device=device)
    if isinstance(generator, torch.Generator):
        return draw((num, *shape), generator=generator, device=generator.device).to(device)
    if len(generator) != num:
        raise ValueError(f"{len(generator)} generators for {num} images")
    return torch.stack([draw(shape, generator=one, device=one.device).to(device) for one in generator])
