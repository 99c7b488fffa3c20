"""The one pair of functions between stored uint8 images and the floats that models see, and image files.

    x = u / 127.5 - 1,    u = clip(round((x + 1) * 127.5), 0, 255)

so uint8 -> float -> uint8 is exact.
"""

import math
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision.io import write_png
from torchvision.utils import make_grid

from lightning_gen.cache import atomic
from lightning_gen.types import Images, StoredImages

LEVEL = 2 / 255
"""Distance of two neighbouring levels of an 8-bit image in [-1, 1]."""


def to_float(images: StoredImages) -> Images:
    """Convert stored images to float32 in [-1, 1].

    Args:
        images: uint8 in [0, 255].

    Returns:
        float32 in [-1, 1], on the same device.
    """
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: Images) -> StoredImages:
    """Convert images in [-1, 1] to stored uint8, rounding to nearest and clipping what lies outside.

    Args:
        images: floating point, nominally in [-1, 1].

    Returns:
        uint8 in [0, 255], on the same device.
    """
    return images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def grid(images: StoredImages, columns: int | None = None) -> UInt8[Tensor, "3 grid_height grid_width"]:
    """Lay images out row by row in one picture with a thin border.

    Args:
        images: uint8 images, one or three channels.
        columns: images in a row; the nearest square when None.

    Returns:
        One uint8 RGB picture.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    return make_grid(images.cpu(), nrow=columns, padding=1, pad_value=128)


def row_pairs(above: StoredImages, below: StoredImages, columns: int) -> UInt8[Tensor, "cells channels height width"]:
    """Order images so that a grid shows each row of the first set above the same row of the second.

    Args:
        above: uint8 images.
        below: as many of the same shape.
        columns: images in a row; an unfinished last row is filled up with grey.

    Returns:
        uint8 images, a multiple of ``2 * columns``.
    """
    missing = -len(above) % columns
    filler = above.new_full((missing, *above.shape[1:]), 128)
    pairs = [torch.cat([images, filler]).unflatten(0, (-1, columns)) for images in (above, below)]
    return torch.stack(pairs, dim=1).flatten(0, 2)  # (rows, 2, columns, C, H, W) -> (rows * 2 * columns, C, H, W)


def save_png(image: UInt8[Tensor, "channels height width"], path: Path) -> None:
    """Write one picture as a PNG file; a killed write leaves no half file.

    Args:
        image: uint8, one or three channels.
        path: the file; its folder is made.
    """
    with atomic(path) as temporary:
        write_png(image.cpu(), str(temporary))
