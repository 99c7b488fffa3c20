"""Images as they lie on disk, before they are decoded: arrays, folders and zip archives.

A source lists its images in a fixed order and opens them one by one. Its ``scan`` says what they hold: a hash of
their content, whether any has colour, and their sizes. Scanning a folder reads every byte once; the result is kept
and stands until a file's size, inode, modification or change time differs (a zip's: until a CRC in its directory
differs), and the operating system moves the change time with every write, whatever the writer does to the other.
"""

import io
import json
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from lightning_gen.cache import atomic
from lightning_gen.data.decode import is_colour, upright_size
from lightning_gen.errors import InputError

EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
IndexArray = npt.NDArray[np.int64]
T = TypeVar("T")


class Scan(NamedTuple):
    """What the images of a source hold.

    Attributes:
        content: hash of all images and labels, in order.
        colour: whether any image has colour.
        sizes: the (height, width) that occur, at most two of them.
    """

    content: str
    colour: bool
    sizes: list[list[int]]


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", name)


def pooled(function: Callable[[int], T], num: int, chunk: int = 256) -> Iterator[T]:
    """Map 0 ... num - 1 in threads, in order, with a bounded number of results waiting.

    Args:
        function: what to compute; Pillow, zlib and hashlib release the interpreter's lock in their loops.
        num: number of calls.
        chunk: calls under way at a time.

    Yields:
        The results in order.
    """
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for start in range(0, num, chunk):
            yield from pool.map(function, range(start, min(start + chunk, num)))


@dataclass
class ArraySource:
    """Images that are an array already.

    Attributes:
        name: dataset and split.
        images: uint8 ``(n, height, width)`` or ``(n, height, width, 3)``.
        labels: class of each image.
    """

    name: str
    images: npt.NDArray[np.uint8]
    labels: IndexArray | None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, name: str, indices: IndexArray) -> "ArraySource":
        """Some of the images, under a name of their own."""
        return ArraySource(name, self.images[indices], None if self.labels is None else self.labels[indices])

    def open(self, index: int) -> Image.Image:
        """Open an image, to be decoded by the caller."""
        return Image.fromarray(self.images[index])

    def where(self, index: int) -> str:
        """Where an image lies, for messages."""
        return f"{self.name}[{index}]"

    def scan(self, store: Path) -> Scan:
        """Look through the images; nothing is kept, since hashing an array is quick."""
        content = _content(self.labels)
        content.update(np.ascontiguousarray(self.images).data)
        return Scan(content.hexdigest(), self.images.ndim == 4, [list(self.images.shape[1:3])])


class Folder:
    """A folder of files.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path):
        self.path = path

    def names(self) -> list[str]:
        """Every file below the folder, relative to it, with forward slashes."""
        found = []
        for folder, _, files in os.walk(self.path, followlinks=True):
            below = Path(folder).relative_to(self.path)
            found += [(below / file).as_posix() for file in files]
        return found

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return (self.path / name).read_bytes()

    def signature(self, name: str) -> tuple[str, float]:
        """What changes whenever the file does, and when it last did in seconds since the epoch."""
        try:
            stat = (self.path / name).stat()
        except OSError:  # a link to nowhere, which is named when it is decoded
            return "unreadable", 0.0
        return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}", stat.st_ctime


class Zip:
    """A zip archive of files.

    Args:
        path: the archive.

    Raises:
        InputError: when it is no zip archive, or one cut short.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            _ = self._archive
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{path} is not a whole zip archive ({error}): download or copy it again") from None

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # an open file cannot be pickled: it is opened again where it is needed

    def names(self) -> list[str]:
        """Every file in the archive."""
        return [info.filename for info in self._archive.infolist() if not info.is_dir()]

    def read(self, name: str) -> bytes:
        """The bytes of a file, checked against its CRC."""
        return self._archive.read(name)

    def signature(self, name: str) -> tuple[str, float]:
        """Size and CRC of a file, and 0: they need no time to settle."""
        info = self._archive.getinfo(name)
        return f"{info.file_size} {info.CRC}", 0.0


@dataclass
class FileSource:
    """Images that are files.

    Attributes:
        name: dataset and split.
        tree: the folder or archive that holds them.
        names: the files, in order.
        labels: class of each image.
    """

    name: str
    tree: Folder | Zip
    names: list[str]
    labels: IndexArray | None

    def __len__(self) -> int:
        return len(self.names)

    def open(self, index: int) -> Image.Image:
        """Open an image, to be decoded by the caller."""
        return Image.open(io.BytesIO(self.tree.read(self.names[index])))

    def where(self, index: int) -> str:
        """Where an image lies, for messages."""
        return str(self.tree.path / self.names[index])

    def take(self, name: str, indices: IndexArray) -> "FileSource":
        """Some of the images, under a name of their own."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, name=name, names=[self.names[index] for index in indices], labels=labels)

    def scan(self, store: Path) -> Scan:
        """Look through the images, or recall the scan kept in ``store`` when no file has changed since."""
        fingerprint, newest = self._fingerprint()
        record = store / f"{slug(self.name)}.scan.json"
        if record.exists():
            known = json.loads(record.read_text())
            if known.pop("fingerprint") == fingerprint:
                return Scan(**known)
        content, colour = _content(self.labels), False
        sizes: set[tuple[int, int]] = set()
        for digest, has_colour, size in pooled(self._look, len(self)):
            content.update(digest)
            colour |= has_colour
            if size is not None and len(sizes) < 2:
                sizes.add(size)
        scan = Scan(content.hexdigest(), colour, sorted(map(list, sizes)))
        if time.time() - newest > 2:  # a later write within the clock's grain would leave the same change time
            with atomic(record) as temporary:
                temporary.write_text(json.dumps({"fingerprint": fingerprint, **scan._asdict()}))
        return scan

    def _fingerprint(self) -> tuple[str, float]:
        digest, newest = _content(self.labels), 0.0
        for name in self.names:
            signature, changed = self.tree.signature(name)
            digest.update(f"{name}\0{signature}\0".encode("utf-8", "surrogateescape"))
            newest = max(newest, changed)
        return digest.hexdigest(), newest

    def _look(self, index: int) -> tuple[bytes, bool, tuple[int, int] | None]:
        digest = b"unreadable"
        try:
            data = self.tree.read(self.names[index])
            digest = blake2b(data, digest_size=16).digest()
            with Image.open(io.BytesIO(data)) as image:
                return digest, is_colour(image), upright_size(image)
        except Exception:  # decoders raise all sorts; the file is named when it is decoded
            return digest, False, None


Source = ArraySource | FileSource
"""One split of a dataset, undecoded."""


def open_tree(path: Path) -> Folder | Zip:
    """Open a folder or zip archive.

    Args:
        path: where it lies.

    Returns:
        What lists and reads its files.

    Raises:
        InputError: when there is neither.
    """
    if path.is_dir():
        return Folder(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        return Zip(path)
    raise InputError(f"{path} is {'no zip archive' if path.exists() else 'not there'}: name a folder or .zip of images")


def image_names(tree: Folder | Zip) -> list[str]:
    """The image files of a tree, sorted; hidden files, ``__MACOSX`` and other kinds of file are passed over.

    Args:
        tree: a folder or archive.

    Returns:
        Their names.

    Raises:
        InputError: when there are none.
    """
    names = sorted(name for name in tree.names() if _is_image(PurePosixPath(name)))
    if not names:
        raise InputError(f"{tree.path} holds no images ({', '.join(sorted(EXTENSIONS))})")
    return names


def _is_image(name: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
    return not hidden and name.suffix.lower() in EXTENSIONS


def _content(labels: IndexArray | None) -> "blake2b":
    return blake2b(b"" if labels is None else labels.tobytes(), digest_size=16)
