"""From an image as it was saved to uint8 pixels of one shape.

Whatever the file holds is brought to upright 8-bit grey or RGB (transparency on white, 16 bits rounded to 8), framed
to a square, and resized with an antialiased bicubic filter. An image that already has the wanted size keeps its
pixels exactly.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

GREY_MODES = {"1", "L", "LA", "La", "I", "F"}


@dataclass(frozen=True)
class Framing:
    """How an image becomes an array of one shape.

    Attributes:
        channels: 1 (luma) or 3 (RGB).
        size: height and width; None keeps the image's own.
        crop: side of the centre square that is cut out before resizing; None takes the largest.
        pad: centre a smaller image on black in place of enlarging it.
        binarized: whether each pixel is drawn black or white, once for all.
    """

    channels: int
    size: int | None
    crop: int | None = None
    pad: bool = False
    binarized: bool = False


def is_colour(image: Image.Image) -> bool:
    """Whether an image may hold colour, told from its header (and palette) alone."""
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette != palette[:, :1]).any())
    return image.mode not in GREY_MODES and not image.mode.startswith("I;16")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(height, width) once the EXIF orientation is applied, told from the header alone."""
    turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def pixels(image: Image.Image, framing: Framing) -> UInt8[np.ndarray, "channels height width"]:
    """Decode, convert and frame one image.

    Args:
        image: any image that Pillow opens; it is decoded here, so that a broken file raises here.
        framing: the wanted shape.

    Returns:
        uint8 pixels.
    """
    image = _frame(_convert(ImageOps.exif_transpose(image), framing.channels), framing)
    array = np.asarray(image)
    return array[None] if framing.channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _convert(image: Image.Image, channels: int) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):  # 16 bits: 65535 / 255 = 257
        image = Image.fromarray(np.rint(np.asarray(image) / 257).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def _frame(image: Image.Image, framing: Framing) -> Image.Image:
    size = framing.size
    if size is None:
        return image
    if framing.pad and max(image.size) <= size:
        left, top = (size - image.width) // 2, (size - image.height) // 2
        return image.crop((-left, -top, size - left, size - top))  # outside lies black
    side = min(*image.size, framing.crop or max(image.size))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    return image if side == size else image.resize((size, size), Image.Resampling.BICUBIC)
