"""Reproducible randomness: seeds as a function of what they are for, and noise that one image owns alone.

A seed is a hash of a tuple of integers, so (seed, rank, batch) or (seed, image) name a stream without any state that
would have to be saved, and two tuples share no stream. With one generator for each image, image i is the same
whatever the batch size and whatever the number of processes.
"""

from collections.abc import Callable, Iterable
from functools import partial
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from lightning_gen.types import RandomSource


def mix_seed(*parts: int | str) -> int:
    """Hash integers and words to a 63-bit seed (NumPy's SeedSequence).

    Args:
        *parts: non-negative integers, or words that name a purpose.

    Returns:
        A seed in [0, 2^63).
    """
    entropy = [crc32(part.encode()) if isinstance(part, str) else part for part in parts]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_global(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of one device, and no other's (which costs milliseconds).

    Args:
        seed: the seed.
        device: the device in use.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def image_generators(seed: int, indices: Iterable[int]) -> list[torch.Generator]:
    """One CPU generator for each image, a function of (seed, index of the image).

    Args:
        seed: the sampling seed.
        indices: the images' numbers.

    Returns:
        The generators, in the order of the indices.
    """
    return [torch.Generator().manual_seed(mix_seed(seed, index)) for index in indices]


def randn(num: int, *shape: int, generator: RandomSource = None, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal noise ``(num, *shape)``, row i from the i-th generator where there are several.

    Args:
        num: rows.
        *shape: shape of a row.
        generator: one for all rows, one for each, or None for torch's global one on ``device``.
        device: where the noise is wanted; CPU generators draw on the CPU, so a seed means the same everywhere.

    Returns:
        float32 noise on ``device``.

    Raises:
        ValueError: when the number of generators is not ``num``.
    """
    return _rows(torch.randn, num, shape, generator, device)


def uniform(num: int, *shape: int, generator: RandomSource = None, device: torch.device | str = "cpu") -> Tensor:
    """Noise ``(num, *shape)`` uniform on [0, 1), row i from the i-th generator where there are several.

    Args:
        num: rows.
        *shape: shape of a row.
        generator: as in :func:`randn`.
        device: as in :func:`randn`.

    Returns:
        float32 noise on ``device``.

    Raises:
        ValueError: when the number of generators is not ``num``.
    """
    return _rows(torch.rand, num, shape, generator, device)


def integers(num: int, high: int, *, generator: RandomSource = None, device: torch.device | str = "cpu") -> Tensor:
    """Integers in [0, high), evenly drawn, the i-th from the i-th generator where there are several.

    Args:
        num: how many.
        high: the bound, which is not drawn.
        generator: as in :func:`randn`.
        device: where they are wanted.

    Returns:
        int64 (num) on ``device``.

    Raises:
        ValueError: when the number of generators is not ``num``.
    """
    return _rows(partial(torch.randint, high), num, (), generator, device)


def _rows(
    draw: Callable[..., Tensor],
    num: int,
    shape: tuple[int, ...],
    generator: RandomSource,
    device: torch.device | str,
) -> Tensor:
    """Draw ``(num, *shape)``, row i from the i-th generator where there are several."""
    if generator is None:
        return draw((num, *shape), device=device)
    if isinstance(generator, torch.Generator):
        return draw((num, *shape), generator=generator, device=generator.device).to(device)
    if len(generator) != num:
        raise ValueError(f"{len(generator)} generators for {num} images")
    return torch.stack([draw(shape, generator=one, device=one.device).to(device) for one in generator])
