"""Conversion between stored uint8 images and models' floats in [-1, 1], image grids, and PNG files.

    x = u / 127.5 - 1,    u = clip(round((x + 1) * 127.5), 0, 255)

The round trip uint8 -> float -> uint8 is exact.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torchvision.io import write_png
from torchvision.utils import make_grid

from lightning_gen.cache import atomic
from lightning_gen.types import Images, StoredImages

LEVEL = 2 / 255
"""Difference of two adjacent levels of an 8-bit image in [-1, 1]."""
PICTURE_WIDTH = 512
"""Width in pixels of a picture that is made to be looked at, at least."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma of ITU-R BT.601, full range, which Pillow takes too."""


def to_float(images: StoredImages) -> Images:
    """Convert stored images to float32 in [-1, 1], on the same device."""
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: Images) -> StoredImages:
    """Convert floating-point images to uint8 on the same device, rounding to nearest and clipping to [-1, 1]."""
    return images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def to_grey(images: Float[Tensor, "batch _ height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Luma of RGB images, 0.299 R + 0.587 G + 0.114 B; grey images do not change."""
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def enlarge(images: StoredImages, factor: int) -> UInt8[Tensor, "batch channels _ _"]:
    """Enlarge images by a whole factor: each pixel becomes a square."""
    return images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def grid(
    images: StoredImages, columns: int | None = None, min_width: int = 1
) -> UInt8[Tensor, "3 grid_height grid_width"]:
    """Arrange images in a grid, row by row, with a border of one grey pixel.

    Args:
        images: images with one or three channels.
        columns: number of images per row; None: the square root of the number of images, rounded up.
        min_width: width in pixels of the grid, at least; smaller images are enlarged by a whole factor.

    Returns:
        One RGB image.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    width = min(columns, len(images)) * images.shape[3]
    return make_grid(enlarge(images.cpu(), math.ceil(min_width / width)), nrow=columns, padding=1, pad_value=128)


def row_pairs(above: StoredImages, below: StoredImages, columns: int) -> UInt8[Tensor, "cells channels height width"]:
    """Interleave two batches by rows: a grid shows each row of ``above`` over the same row of ``below``.

    Args:
        above: images.
        below: images of the same shape.
        columns: number of images per row; an incomplete last row is filled with grey images.

    Returns:
        Images; their number is a multiple of ``2 * columns``.
    """
    return interleave_rows((above, below), columns)


def interleave_rows(batches: Sequence[StoredImages], columns: int) -> UInt8[Tensor, "cells channels height width"]:
    """Interleave batches by rows: a grid shows each row of the first batch over the same row of the next ones.

    Args:
        batches: as many images each, of one shape.
        columns: number of images per row; an incomplete last row is filled with grey images.

    Returns:
        Images; their number is a multiple of ``len(batches) * columns``.
    """
    first = batches[0]
    filler = first.new_full((-len(first) % columns, *first.shape[1:]), 128)
    rows = [torch.cat([images, filler]).unflatten(0, (-1, columns)) for images in batches]
    return torch.stack(rows, dim=1).flatten(0, 2)  # (rows, batches, columns, C, H, W) -> (cells, C, H, W)


def match_shapes(batches: Sequence[UInt8[Tensor, "batch _ _ _"]]) -> list[UInt8[Tensor, "batch _ _ _"]]:
    """Enlarge batches of images to the height of the largest, and repeat grey channels if another batch has more.

    Args:
        batches: images whose heights divide the largest; they are enlarged by whole factors, to nearest neighbours.

    Returns:
        Images of one shape.
    """
    channels, height = (max(images.shape[axis] for images in batches) for axis in (1, 2))
    matched = []
    for images in batches:
        factor = height // images.shape[2]
        matched.append(enlarge(images, factor).expand(-1, channels, -1, -1))
    return matched


def save_png(image: UInt8[Tensor, "channels height width"], path: Path) -> None:
    """Write an image to a PNG file, atomically; creates the folder if necessary.

    Args:
        image: grey, grey and alpha, RGB, or RGB and alpha.
        path: the file.
    """
    with atomic(path) as temporary:
        if len(image) in (1, 3):
            write_png(image.cpu(), str(temporary))
        else:  # torchvision writes no alpha
            Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy()).save(temporary, "PNG")
