"""Translating large images in overlapping tiles.

A convolutional network's output depends on the input within a finite distance, its context c. The image is divided into
cores of ``tile`` pixels; each core is translated from a window that exceeds it by c pixels on every side, and only the
core's part of the result is kept. A window ends where the image does, so that the network pads its border exactly as it
does for the whole image, and the tiled translation equals the untiled one up to rounding.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

from jaxtyping import Shaped
from torch import Tensor

from lightning_gen.resize import pad_symmetric

Inputs = Shaped[Tensor, "batch input_channels input_height input_width"]
Images = Shaped[Tensor, "batch channels height width"]


class Segment(NamedTuple):
    """One tile's extent on an axis, in input pixels.

    Attributes:
        core: the pixels whose translation is kept.
        window: the pixels that are translated; they include the core.
    """

    core: slice
    window: slice


def translate_tiles(
    translate: Callable[[Inputs], Images],
    inputs: Inputs,
    *,
    tile: int,
    overlap: int,
    scale: int = 1,
    multiple: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Images:
    """Translate images tile by tile; memory is bounded by a window of ``tile + 2 * overlap`` pixels a side.

    Args:
        translate: maps images to images, ``scale`` times as high and wide; they may be on another device.
        inputs: images of any height and width, floats or stored ones, as ``translate`` takes them.
        tile: side of a core in input pixels, at least 1; rounded up to a multiple of ``multiple``.
        overlap: number of pixels by which a window exceeds its core; with at least the network's context, the result
            equals ``translate(inputs)``. Rounded up likewise.
        scale: how many times larger the translations are.
        multiple: number by which the network divides height and width; windows start at multiples of it, and the image
            is padded symmetrically to one.
        progress: called after each tile with the fraction of the work that it amounts to.

    Returns:
        Images on the device of ``inputs``.
    """
    height, width = inputs.shape[-2:]
    padded = pad_symmetric(inputs, 0, -width % multiple, 0, -height % multiple)
    rows, columns = (
        list(segments(size, _round_up(tile, multiple), _round_up(overlap, multiple))) for size in padded.shape[-2:]
    )
    images: Tensor | None = None
    for row, column in product(rows, columns):
        result = translate(padded[..., row.window, column.window])
        if images is None:
            size = (padded.shape[-2] * scale, padded.shape[-1] * scale)
            images = result.new_empty(*result.shape[:-2], *size, device=inputs.device)
        images[..., _scaled(row.core, 0, scale), _scaled(column.core, 0, scale)] = result[
            ..., _scaled(row.core, row.window.start, scale), _scaled(column.core, column.window.start, scale)
        ]
        if progress is not None:
            progress(1 / (len(rows) * len(columns)))
    assert images is not None
    return images[..., : height * scale, : width * scale]


def segments(size: int, tile: int, overlap: int) -> Iterator[Segment]:
    """Divide an axis into cores of ``tile`` pixels, the last of which may be smaller.

    All windows have ``tile + 2 * overlap`` pixels, or the whole axis: at its ends, a window is moved inwards.

    Args:
        size: number of pixels of the axis.
        tile: number of pixels of a core.
        overlap: number of pixels by which a window exceeds its core, except at the ends of the axis.

    Yields:
        Every tile's extent, in order.
    """
    length = min(tile + 2 * overlap, size)
    for start in range(0, size, tile):
        first = max(0, min(start - overlap, size - length))
        yield Segment(slice(start, min(start + tile, size)), slice(first, first + length))


def _scaled(extent: slice, origin: int, scale: int) -> slice:
    return slice((extent.start - origin) * scale, (extent.stop - origin) * scale)


def _round_up(value: int, multiple: int) -> int:
    return value + -value % multiple
