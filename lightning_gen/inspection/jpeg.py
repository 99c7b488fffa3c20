"""JPEG as a yardstick: an image in at most so many bytes.

A file is headers (quantisation and Huffman tables, 300 to 600 bytes) and the entropy-coded scan. The Huffman tables
are the standard's own, not ones made for each image, so that the scan alone tells what an image costs a coder that
knows the tables, as a decoder network knows its weights.
"""

from io import BytesIO
from typing import Literal, NamedTuple

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from lightning_gen.inspection.panels import as_tensor

Counted = Literal["scan", "file"]
QUALITIES = (1, 100)
START_OF_SCAN = 0xDA


class Jpeg(NamedTuple):
    """A JPEG file, the quality that it was made with, and the bytes of it that count."""

    data: bytes
    quality: int
    size: int


def encode_jpeg(image: Image.Image, quality: int, counted: Counted) -> Jpeg:
    """Write an image as a baseline JPEG.

    Args:
        image: 8-bit grey or RGB.
        quality: 1 to 100.
        counted: what counts: the entropy-coded ``scan`` alone or the whole ``file``.

    Returns:
        The file.
    """
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=False)
    data = buffer.getvalue()
    return Jpeg(data, quality, len(data) if counted == "file" else scan_bytes(data))


def scan_bytes(data: bytes) -> int:
    """Bytes of entropy-coded data in a baseline JPEG: what lies between the header of its one scan and its end.

    Args:
        data: the file.

    Returns:
        The number of bytes.
    """
    place = 2  # after the start of the image
    while True:
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        marker, place = data[place + 1], place + 2 + length
        if marker == START_OF_SCAN:
            return len(data) - place - 2  # but for the end of the image


def fitted_jpeg(image: UInt8[Tensor, "channels height width"], budget: int, counted: Counted) -> Jpeg:
    """Find by bisection the highest quality whose bytes stay within a budget.

    Args:
        image: one channel, which becomes a grey JPEG, or three.
        budget: bytes.
        counted: which bytes.

    Returns:
        The JPEG; of quality 1, and over the budget, where that is still too large.
    """
    pixels = image.permute(1, 2, 0).contiguous().cpu().numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    low, high = QUALITIES
    best = encode_jpeg(picture, low, counted)
    while best.size <= budget and low < high:
        middle = (low + high + 1) // 2
        tried = encode_jpeg(picture, middle, counted)
        if tried.size <= budget:
            best, low = tried, middle
        else:
            high = middle - 1
    return best


def decode_jpeg(data: bytes) -> UInt8[Tensor, "channels height width"]:
    """The pixels of a JPEG file."""
    return as_tensor(Image.open(BytesIO(data)))
