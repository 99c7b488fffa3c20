"""Overlapping square tiles of large images, which are decoded once and of which training takes random crops.

The tiles of an image are spaced evenly, by at most three quarters of their side, and cover every pixel.
"""

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import product
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from lightning_gen.data.decode import upright_size
from lightning_gen.data.parallel import map_ranges
from lightning_gen.data.sources import IndexArray, Scan, Source
from lightning_gen.errors import InputError

MAX_STEP = 0.75
"""Largest distance of neighbouring tiles, as a fraction of their side."""


class Tile(NamedTuple):
    """A tile: the image's index in its source, and the row and column of the upper left corner."""

    image: int
    top: int
    left: int


@dataclass
class TileSource:
    """The tiles of the images of a source.

    Attributes:
        name: dataset and split.
        labels: class of each tile's image, or None.
        source: the images.
        tile: height and width of a tile.
        tiles: the tiles, image by image.
    """

    name: str
    labels: IndexArray | None
    source: Source
    tile: int
    tiles: list[Tile]
    _last: "_LastImage" = field(default_factory=lambda: _LastImage(), repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.tiles)

    def subset(self, name: str, indices: IndexArray) -> "TileSource":
        """A source of some of the tiles, with a new name."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, name=name, labels=labels, tiles=[self.tiles[index] for index in indices])

    def open(self, index: int) -> Image.Image:
        """Cut a tile out of its image."""
        image, top, left = self.tiles[index]
        return self._last.read(self.source, image).crop((left, top, left + self.tile, top + self.tile))

    def location(self, index: int) -> str:
        """The image's path, for messages."""
        return self.source.location(self.tiles[index].image)

    def scan(self, cache_folder: Path) -> Scan:
        """Scan the images; the hash covers the positions of the tiles."""
        scan = self.source.scan(cache_folder)
        content = blake2b(f"{scan.content} {self.tile} {self.tiles}".encode(), digest_size=16)
        return Scan(content.hexdigest(), scan.colour, [[self.tile, self.tile]])


class _LastImage:
    """Keeps the image that was decoded last, since the tiles of an image are read one after the other."""

    def __init__(self) -> None:
        self._lock, self._index, self._image = Lock(), -1, Image.new("L", (1, 1))

    def __reduce__(self) -> tuple[type["_LastImage"], tuple[()]]:
        return _LastImage, ()  # a lock cannot be pickled

    def read(self, source: Source, index: int) -> Image.Image:
        with self._lock:
            if index != self._index:
                with source.open(index) as image:
                    self._image = ImageOps.exif_transpose(image)
                    self._image.load()
                self._index = index
            return self._image


def tile_source(source: Source, tile: int, unit: int = 1) -> TileSource:
    """Cut the images of a source into overlapping tiles.

    Args:
        source: the images, of any sizes.
        tile: height and width of a tile.
        unit: number that divides the tiles' positions. Images that are ``unit`` times as large as their partners have
            tiles at ``unit`` times the partners' positions.

    Returns:
        The tiles.

    Raises:
        InputError: when an image is smaller than a tile, or cannot be opened.
    """
    tiles: list[Tile] = []
    for index, (height, width) in enumerate(image_sizes(source)):
        if min(height, width) < tile:
            raise InputError(
                f"{source.location(index)} is {width}x{height}, smaller than data.tile {tile}; set data.tile to "
                f"{min(height, width)} or less, or leave the image out"
            )
        rows, columns = (tile_positions(side, tile, unit) for side in (height, width))
        tiles += [Tile(index, top, left) for top, left in product(rows, columns)]
    labels = None if source.labels is None else source.labels[[tile.image for tile in tiles]]
    title, split = source.name.rsplit("/", 1)
    return TileSource(f"{title}-tiles/{split}", labels, source, tile, tiles)


def tile_positions(side: int, tile: int, unit: int = 1) -> list[int]:
    """Positions of tiles along a side, from 0 to the end, evenly spaced up to rounding, in multiples of ``unit``."""
    last, step = side // unit - tile // unit, max(1, int(MAX_STEP * tile / unit))
    num = -(-last // step) + 1
    return [unit * int(position) for position in np.linspace(0, last, num).round()]


def image_sizes(source: Source) -> list[tuple[int, int]]:
    """(height, width) of each upright image; one that cannot be opened raises an :class:`InputError`."""

    def size(index: int) -> tuple[int, int]:
        try:
            with source.open(index) as image:
                return upright_size(image)
        except Exception as error:  # decoders raise many types
            raise InputError(f"{source.location(index)} cannot be opened ({error}); repair or remove it") from None

    return [pair for pairs in map_ranges(lambda part: list(map(size, part)), len(source)) for pair in pairs]
