"""Reproducible random numbers: seeds by purpose, and one generator per image.

A seed is the hash of a tuple of integers and strings, so ("train", seed, rank, batch) defines a random stream without
any state to save. With one generator per image, image i depends neither on the batch size nor on the number of
processes.

torch's generator on the CPU uses the lowest 32 bits of its seed alone. The hashes of 50,000 images would agree in them
for about 0.3 pairs on average, so the generators of images are seeded by a bijection of the image's index instead.
"""

from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b

import torch
from torch import Tensor

from lightning_gen.types import RandomSource


def mix_seed(*parts: int | str) -> int:
    """Hash integers and strings to a seed in [0, 2^63), by BLAKE2b of an unambiguous encoding of the tuple.

    Tuples of different lengths, and an integer and its decimal string, have unrelated seeds.
    """
    encoding = repr(tuple(part if isinstance(part, str) else int(part) for part in parts))
    return int.from_bytes(blake2b(encoding.encode(), digest_size=8).digest(), "big") >> 1


def seed_global(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of one device; seeding all devices takes milliseconds."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def image_generators(seed: int, indices: Iterable[int]) -> list[torch.Generator]:
    """One CPU generator per image, seeded by (seed, index of the image); up to 2^32 indices have distinct seeds."""
    first = mix_seed("image", seed)
    return [torch.Generator().manual_seed(_permute_32_bits(first + index)) for index in indices]


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


def _permute_32_bits(value: int) -> int:
    """A bijection of the lowest 32 bits, after which consecutive values look unrelated (MurmurHash3's finaliser)."""
    value &= 0xFFFFFFFF
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16


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
