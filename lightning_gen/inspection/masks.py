"""Which pixels of images are known."""

import math
from collections.abc import Sequence
from typing import Literal

import torch

from lightning_gen.diffusion.inpainting import Mask
from lightning_gen.errors import InputError
from lightning_gen.types import ImageShape

Region = Literal["centre", "left", "right", "top", "bottom", "box", "random"]
SHARES: dict[Region, float] = {"centre": 0.25, "box": 0.25}
"""What part of an image is unknown where nothing is said; a half of the others."""


def known_pixels(
    region: Region, share: float | None, image_shape: ImageShape, generators: Sequence[torch.Generator]
) -> Mask:
    """Choose the pixels that are known; at least one of them is, and one is not.

    Args:
        region: which are unknown: a rectangle in the centre or anywhere (``box``), with the image's proportions; the
            left, right, upper or lower part; or single pixels (``random``).
        share: about what part of the pixels is unknown, in (0, 1); that of ``SHARES``, or a half, when None.
        image_shape: (channels, height, width).
        generators: one for each image, which chooses a box's place, or the pixels.

    Returns:
        Where they are, on the CPU.

    Raises:
        InputError: when the share is out of range, or leaves no pixel or all.
    """
    share = SHARES.get(region, 0.5) if share is None else share
    if not 0 < share < 1:
        raise InputError(f"--share is {share:g}; it must lie between 0 and 1: the part of the image that is unknown")
    _, height, width = image_shape
    unknown = torch.zeros(len(generators), 1, height, width, dtype=torch.bool)
    side = math.sqrt(share)
    rows, columns = round(side * height), round(side * width)
    if region == "left":
        unknown[..., : round(share * width)] = True
    elif region == "right":
        unknown[..., width - round(share * width) :] = True
    elif region == "top":
        unknown[..., : round(share * height), :] = True
    elif region == "bottom":
        unknown[..., height - round(share * height) :, :] = True
    elif region == "random":
        for one, generator in zip(unknown, generators, strict=True):
            one.flatten()[torch.randperm(one.numel(), generator=generator)[: round(share * one.numel())]] = True
    else:
        for one, generator in zip(unknown, generators, strict=True):
            top, left = (height - rows) // 2, (width - columns) // 2
            if region == "box":
                top = int(torch.randint(height - rows + 1, (), generator=generator))
                left = int(torch.randint(width - columns + 1, (), generator=generator))
            one[:, top : top + rows, left : left + columns] = True
    if not unknown.any() or unknown.all():
        pixels = "no pixel" if not unknown.any() else "every pixel"
        raise InputError(f"--share {share:g} of {height} x {width} pixels makes {pixels} unknown; take another")
    return ~unknown
