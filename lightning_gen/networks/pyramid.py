"""Sides and widths of the feature maps of networks whose resolution doubles from 4 x 4 pixels to the image."""

from collections.abc import Sequence

from lightning_gen.errors import InputError
from lightning_gen.types import ImageShape

MIN_SIDE, MAX_SIDE = 8, 1024


def pyramid_sides(image_shape: ImageShape) -> list[int]:
    """Sides of the feature maps, from 4 to the side of the image.

    Args:
        image_shape: (channels, height, width).

    Returns:
        The sides, e.g. [4, 8, 16].

    Raises:
        InputError: if the image is not square or its side is not a power of two in 8..1024.
    """
    _, height, width = image_shape
    if height != width or not MIN_SIDE <= height <= MAX_SIDE or height & (height - 1):
        raise InputError(
            f"this model supports square images of {MIN_SIDE} to {MAX_SIDE} pixels, powers of two, "
            f"not {height} x {width}; set data.image_size"
        )
    return [2**i for i in range(2, height.bit_length())]


def pyramid_channels(sides: Sequence[int], channel_base: int, channel_max: int) -> list[int]:
    """Number of channels at each side: ``channel_base // side``, at least 1 and at most ``channel_max``."""
    return [max(1, min(channel_base // side, channel_max)) for side in sides]
