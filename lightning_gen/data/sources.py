"""Undecoded images: an array, or the files of a folder or zip archive.

A source lists its images in a fixed order and opens them one at a time. ``scan`` summarises them: a hash of their
content, whether any has colour, and their sizes. Scanning files reads every byte once. The result is cached, and is
valid until the size, inode, modification time or change time of a file differs, or for a zip archive, a CRC in its
directory. The operating system updates the change time on every write; a program cannot set it back.
"""

import json
import re
import time
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image
from pytorch_lightning.utilities import rank_zero_warn

from lightning_gen.cache import DAMAGE, atomic
from lightning_gen.data.decode import is_colour, open_image, upright_size
from lightning_gen.data.files import FileTree
from lightning_gen.data.jpeg import decode_small_jpeg, read_small_jpeg_header
from lightning_gen.data.parallel import map_ranges

CHANGE_TIME_RESOLUTION = 2
"""Seconds within which two writes to a file can have the same change time."""
IndexArray = npt.NDArray[np.int64]


class Scan(NamedTuple):
    """Summary of the images of a source; cached as JSON under these names.

    Attributes:
        content: hash of all images and labels, in order.
        colour: whether any image has colour.
        sizes: the different (height, width), at most two of them.
    """

    content: str
    colour: bool
    sizes: list[list[int]]


def slug(name: str) -> str:
    """Replace the characters that a file name should not contain by underscores."""
    return re.sub(r"[^\w.-]+", "_", name)


@runtime_checkable
class Source(Protocol):
    """The undecoded images of one split."""

    name: str
    """Dataset and split."""
    labels: IndexArray | None
    """Class of each image, or None."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def subset(self, name: str, indices: IndexArray) -> "Source":
        """A source of some of the images, with a new name."""
        ...

    def open(self, index: int) -> Image.Image:
        """Open an image."""
        ...

    def location(self, index: int) -> str:
        """Where an image is, for messages."""
        ...

    def scan(self, cache_folder: Path) -> Scan:
        """Summarise the images."""
        ...


@dataclass
class ArraySource:
    """Images in an array.

    Attributes:
        name: dataset and split.
        images: uint8 ``(n, height, width)`` or ``(n, height, width, 3)``.
        labels: class of each image, or None.
    """

    name: str
    images: npt.NDArray[np.uint8]
    labels: IndexArray | None

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, name: str, indices: IndexArray) -> "ArraySource":
        """A source of some of the images, with a new name."""
        return ArraySource(name, self.images[indices], None if self.labels is None else self.labels[indices])

    def open(self, index: int) -> Image.Image:
        """Open an image without decoding it."""
        return Image.fromarray(self.images[index])

    def location(self, index: int) -> str:
        """The image's position, for messages."""
        return f"{self.name}[{index}]"

    def scan(self, cache_folder: Path) -> Scan:
        """Scan the images; the result is not cached, since hashing an array is fast."""
        content = _labels_hash(self.labels)
        content.update(np.ascontiguousarray(self.images).data)
        return Scan(content.hexdigest(), self.images.ndim == 4, [list(self.images.shape[1:3])])


@dataclass
class FileSource:
    """Images in the files of a folder or zip archive.

    Attributes:
        name: dataset and split.
        tree: the folder or archive.
        names: the files, in order.
        labels: class of each image, or None.
    """

    name: str
    tree: FileTree
    names: list[str]
    labels: IndexArray | None

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, name: str, indices: IndexArray) -> "FileSource":
        """A source of some of the images, with a new name."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, name=name, names=[self.names[index] for index in indices], labels=labels)

    def open(self, index: int) -> Image.Image:
        """Open an image; only a small JPEG file is also decoded."""
        data = self.tree.read(self.names[index])
        return decode_small_jpeg(data) or open_image(data)

    def location(self, index: int) -> str:
        """The image's path, for messages."""
        return str(self.tree.path / self.names[index])

    def scan(self, cache_folder: Path) -> Scan:
        """Scan the images, or read the cached scan when no file has changed since."""
        fingerprint, last_change = self._fingerprint()
        path = cache_folder / f"{slug(self.name)}.scan.json"
        if (cached := _read_scan(path, fingerprint)) is not None:
            return cached
        content, colour = _labels_hash(self.labels), False
        sizes: set[tuple[int, int]] = set()
        for file_hashes, has_colour, some_sizes in map_ranges(self._scan_files, len(self)):
            content.update(file_hashes)
            colour |= has_colour
            for size in some_sizes:
                if len(sizes) < 2:
                    sizes.add(size)
        scan = Scan(content.hexdigest(), colour, sorted(map(list, sizes)))
        if time.time() - last_change > CHANGE_TIME_RESOLUTION:  # else a later write may not change the fingerprint
            with atomic(path) as temporary:
                temporary.write_text(json.dumps({"fingerprint": fingerprint, **scan._asdict()}))
        return scan

    def _fingerprint(self) -> tuple[str, float]:
        """Hash of the labels and of all files' names and signatures, and the latest change time."""
        digest, last_change = _labels_hash(self.labels), 0.0
        for name in self.names:
            signature, changed = self.tree.signature(name)
            digest.update(f"{name}\0{signature}\0".encode("utf-8", "surrogateescape"))
            last_change = max(last_change, changed)
        return digest.hexdigest(), last_change

    def _scan_files(self, indices: range) -> tuple[bytes, bool, list[tuple[int, int]]]:
        """The hashes of some files, whether any has colour, and their different sizes in order."""
        hashes, colours, sizes = zip(*map(self._scan_file, indices), strict=True)
        return b"".join(hashes), any(colours), [size for size in dict.fromkeys(sizes) if size is not None]

    def _scan_file(self, index: int) -> tuple[bytes, bool, tuple[int, int] | None]:
        """Hash of a file, whether it has colour, and its (height, width), None for a file that cannot be opened."""
        file_hash = b"unreadable"
        try:
            data = self.tree.read(self.names[index])
            file_hash = blake2b(data, digest_size=16).digest()
            if (header := read_small_jpeg_header(data)) is not None:
                return file_hash, header.mode != "L", header.size[::-1]
            with open_image(data) as image:
                return file_hash, is_colour(image), upright_size(image)
        except Exception:  # decoders raise many types; decoding reports the file's name
            return file_hash, False, None


def _read_scan(path: Path, fingerprint: str) -> Scan | None:
    """A cached scan; None when there is none or the files have changed, and with a warning when it is damaged."""
    if not path.exists():
        return None
    try:
        if not path.is_file():
            raise ValueError("it is not a regular file")
        cached = json.loads(path.read_text())
        stored = cached.pop("fingerprint")
        if isinstance(stored, str) and stored != fingerprint:
            return None
        scan = Scan(**cached)
        sizes = np.array(scan.sizes, dtype=np.int64).reshape(-1, 2)
        if not (isinstance(scan.content, str) and isinstance(scan.colour, bool) and len(sizes) <= 2):
            raise ValueError("its values have other types")
    except DAMAGE as error:
        rank_zero_warn(f"{path} is damaged ({error}) and is written again")
        return None
    return scan._replace(sizes=sizes.tolist())


def _labels_hash(labels: IndexArray | None) -> "blake2b":
    return blake2b(b"" if labels is None else labels.tobytes(), digest_size=16)
