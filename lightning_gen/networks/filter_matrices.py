"""Filters along one axis as matrices, with reflected borders.

For the sides of images, products with dense matrices are several times faster on the CPU than depthwise convolutions,
and so are their derivatives. The padding is part of the matrix.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_gen.types import Images


def reflect(positions: Tensor, side: int) -> Tensor:
    """Reflect positions at the centres of the outermost pixels, as often as needed, into [0, side - 1]."""
    folded = positions.abs() % (2 * side - 2)
    return torch.minimum(folded, 2 * side - 2 - folded)


def banded(taps: Float[Tensor, " taps"], index: Int64[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """The matrix of the taps with the given indices, and of zeros for indices outside them."""
    inside = (index >= 0) & (index < len(taps))
    return torch.where(inside, taps[index.clamp(0, len(taps) - 1)], 0.0)


def reflection(side: int, margin: int) -> Float[Tensor, "padded side"]:
    """The matrix that pads ``side`` pixels by reflection; the margin may exceed the side."""
    index = reflect(torch.arange(-margin, side + margin), side)
    return torch.nn.functional.one_hot(index, side).double()


def along_both_axes(
    images: Images, rows: Float[Tensor, "*batch height2 height"], columns: Float[Tensor, "*batch width2 width"]
) -> Float[Tensor, "batch channels height2 width2"]:
    """Multiply the columns of images by one matrix and their rows by another."""
    return rows @ images @ columns.mT
