"""Opens small JPEG files without Pillow's parser of their headers, which takes longer than decoding their pixels.

The pixels are those of ``PIL.Image.open``: the same decoder, libjpeg, is given the same bytes. Only the header is read
here, and only of plain files: 8 bits, grey or three components, without EXIF data, colour profile or further images.
"""

import struct
from typing import NamedTuple

from PIL import Image

MAX_BYTES = 2**15
"""Size in bytes above which the parser's time is negligible."""
MAX_PIXELS = 2**20
"""Number of pixels above which a file of at most ``MAX_BYTES`` is left to Pillow and its limits."""
START, SCAN = b"\xff\xd8\xff", 0xFFDA
FRAMES = {0xFFC0, 0xFFC1, 0xFFC2}
"""Baseline, extended and progressive frames in Huffman coding."""
SKIPPED = {0xFFC4, 0xFFDB, 0xFFDD, 0xFFE0, 0xFFEE, 0xFFFE}
"""Segments that only libjpeg reads: Huffman and quantisation tables, restart interval, JFIF, Adobe, comment."""
MODES = {1: "L", 3: "RGB"}


class JpegHeader(NamedTuple):
    """The format of a JPEG file.

    Attributes:
        mode: Pillow's mode, ``L`` or ``RGB``.
        size: (width, height).
    """

    mode: str
    size: tuple[int, int]


def read_small_jpeg_header(data: bytes) -> JpegHeader | None:
    """Read the header of a plain JPEG file of at most ``MAX_BYTES``; None for any other file, which Pillow opens."""
    if len(data) > MAX_BYTES or not data.startswith(START):
        return None
    header, position = None, 2
    while position + 10 <= len(data):
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == SCAN:
            return header
        if marker in FRAMES and header is None:
            bits, height, width, components = struct.unpack_from(">BHHB", data, position + 4)
            if bits != 8 or components not in MODES or not 0 < height * width <= MAX_PIXELS:
                return None
            header = JpegHeader(MODES[components], (width, height))
        elif marker not in SKIPPED or length < 2:
            return None
        position += 2 + length
    return None


def decode_small_jpeg(data: bytes) -> Image.Image | None:
    """Decode a plain JPEG file of at most ``MAX_BYTES``; None for any other file and for a damaged one."""
    header = read_small_jpeg_header(data)
    if header is None:
        return None
    try:
        return Image.frombytes(header.mode, header.size, data, "jpeg", header.mode, "")
    except (OSError, ValueError):
        return None
