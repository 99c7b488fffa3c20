"""Decodes an image file to uint8 pixels of a fixed shape.

Every image is converted to upright 8-bit grey or RGB (transparent images are composited on white, 16-bit images are
rounded to 8 bits), cropped to a square, and resized with an antialiased bicubic filter. The pixels of an image that
already has the target size do not change.
"""

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
"""The formats that are read, whatever a file's name is. Pillow would run other programs for some of its formats."""
EXIF_ORIENTATION = 0x0112
GREY_MODES = {"1", "L", "LA", "La", "I", "F"}


@dataclass(frozen=True)
class Framing:
    """The target format of decoded images. Its ``repr`` is part of the key of a decoded array, so it must not change.

    Attributes:
        channels: 1 (luma) or 3 (RGB).
        size: height and width; None: the image's own.
        crop: side of the centred square that is cropped before resizing; None: the largest.
        pad: pad a smaller image with black instead of enlarging it.
        binarized: whether pixels are binarised once (see :mod:`lightning_gen.data.binarize`).
    """

    channels: int
    size: int | None
    crop: int | None = None
    pad: bool = False
    binarized: bool = False


def open_image(data: bytes) -> Image.Image:
    """Open the content of an image file; pixels are not decoded. A ``ValueError`` is raised for another file."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:  # its message names an object in memory
        raise ValueError(f"it is no image of the formats {', '.join(FORMATS)}") from None


def is_colour(image: Image.Image) -> bool:
    """Whether an image can contain colour, according to its header and palette; pixels are not decoded."""
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette != palette[:, :1]).any())
    return image.mode not in GREY_MODES and not image.mode.startswith("I;16")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(height, width) after the EXIF orientation is applied; pixels are not decoded."""
    rotated = image.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if rotated else (image.height, image.width)


def decode_image(image: Image.Image, framing: Framing) -> UInt8[np.ndarray, "channels height width"]:
    """Decode an opened image and bring it to a format; Pillow raises here when the file is damaged."""
    return _to_array(_crop_and_resize(_convert_mode(_upright(image), framing.channels), framing))


def decode_with_alpha(
    image: Image.Image, channels: int
) -> tuple[UInt8[np.ndarray, "channels height width"], UInt8[np.ndarray, "1 height width"] | None]:
    """Decode an opened image at its own size, with its transparency apart instead of composited on white.

    Args:
        image: an opened image; Pillow raises here when the file is damaged.
        channels: 1 (luma) or 3 (RGB; grey images are repeated).

    Returns:
        The pixels as if all were opaque, and the alpha channel; None for an image without transparency.
    """
    image = _round_to_8_bits(_upright(image))
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))[None]
        image = image.convert("RGB")
    return _to_array(image.convert("L" if channels == 1 else "RGB")), alpha


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # some formats have their EXIF data behind the pixels
    rotated = image.getexif().get(EXIF_ORIENTATION, 1) != 1
    return ImageOps.exif_transpose(image) if rotated else image  # Pillow copies an upright image


def _to_array(image: Image.Image) -> UInt8[np.ndarray, "channels height width"]:
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _round_to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):  # 16 bits: 65535 / 255 = 257
        return Image.fromarray(np.rint(np.asarray(image) / 257).clip(0, 255).astype(np.uint8))
    return image


def _convert_mode(image: Image.Image, channels: int) -> Image.Image:
    image = _round_to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _crop_and_resize(image: Image.Image, framing: Framing) -> Image.Image:
    size = framing.size
    if size is None:
        return image
    if framing.pad and max(image.size) <= size:
        left, top = (size - image.width) // 2, (size - image.height) // 2
        return image.crop((-left, -top, size - left, size - top))  # pixels outside the image are black
    side = min(*image.size, framing.crop or max(image.size))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (side, side):
        image = image.crop((left, top, left + side, top + side))
    return image if side == size else image.resize((size, size), Image.Resampling.BICUBIC)
