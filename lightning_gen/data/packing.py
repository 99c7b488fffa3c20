"""A source decoded once: a memory-mapped uint8 array on disk, and the image set that reads it.

The array is a plain ``.npy`` file ``(n, channels, height, width)`` named by the hash of what it was made from, with a
``.json`` of what was left out beside it. It is written in order, in bounded memory, to a temporary file that is moved
into place when it is whole; one process packs while the others wait.
"""

import json
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from pytorch_lightning.utilities import rank_zero_warn
from rich.console import Console
from rich.progress import track

from lightning_gen.cache import atomic, cache_dir
from lightning_gen.data.binarize import drawn_once
from lightning_gen.data.decode import Framing, pixels
from lightning_gen.data.sources import IndexArray, Scan, Source, pooled, slug
from lightning_gen.errors import InputError
from lightning_gen.types import ImageShape, StoredImages

VERSION = 1  # of the decoding: raise it when the same source would give other pixels
WRITABLE = 0o222  # any of the three write permissions
OnCorrupt = Literal["raise", "skip"]


@dataclass
class PackedImages:
    """An image set that lies decoded on disk.

    Attributes:
        name: dataset and split.
        key: hash of the images' and labels' content and of the size that they were brought to.
        labels: class of each image, or None.
        path: the array's file.
        skipped: files that could not be decoded and were left out.
    """

    name: str
    key: str
    labels: IndexArray | None
    path: Path
    skipped: tuple[str, ...] = ()

    @cached_property
    def array(self) -> npt.NDArray[np.uint8]:
        """The memory-mapped array, read-only."""
        return np.load(self.path, mmap_mode="r")

    @property
    def image_shape(self) -> ImageShape:
        """(channels, height, width)."""
        return tuple(self.array.shape[1:])

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: slice | IndexArray) -> StoredImages:
        return torch.from_numpy(np.array(self.array[index], copy=True if isinstance(index, slice) else None))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "array"}  # a map would travel whole


def store_beside(path: Path) -> Path:
    """The folder for what is derived from data: ``.lightning_gen`` in ``path``, or in the user's cache.

    A folder without write permission is left alone, also by the superuser, whom it would not stop.

    Args:
        path: the folder that the data lies in.

    Returns:
        A folder that can be written.
    """
    beside = path / ".lightning_gen"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if path.stat().st_mode & WRITABLE:
            beside.mkdir(exist_ok=True)
            with TemporaryFile(dir=beside):
                return beside
    except OSError:
        pass
    store = cache_dir() / "data" / blake2b(str(path.resolve()).encode(), digest_size=8).hexdigest()
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"neither {path} nor the cache {store} can be written ({error.strerror}): set LIGHTNING_GEN_CACHE to a "
            "folder that can"
        ) from None
    return store


def scan_once(source: Source, store: Path) -> Scan:
    """Scan a source while other processes that want the same wait, and then find it done.

    Args:
        source: the images.
        store: folder for what is derived.

    Returns:
        What the images hold.
    """
    with _lock(source, store):
        return source.scan(store)


def pack(source: Source, scan: Scan, framing: Framing, store: Path, on_corrupt: OnCorrupt) -> PackedImages:
    """Decode a source into an array on disk, unless that has been done.

    Args:
        source: the images.
        scan: what ``source.scan`` said.
        framing: the wanted shape.
        store: folder for the array.
        on_corrupt: whether a file that cannot be decoded is an error, or left out with a warning.

    Returns:
        The image set.

    Raises:
        InputError: when a file cannot be decoded, none can, or the disk is too small.
    """
    drawn = source.name if framing.binarized else ""  # which seeds the draw
    key = blake2b(f"{VERSION} {scan.content} {framing} {drawn}".encode(), digest_size=16).hexdigest()
    shape = (framing.channels, *([framing.size] * 2 if framing.size else scan.sizes[0]))
    path = store / f"{slug(source.name)}-{'x'.join(map(str, shape))}-{key[:16]}.npy"
    record = path.with_suffix(".json")
    with _lock(source, store):
        _sweep(source, store)
        skipped = _recall(path, record)
        if skipped is None:
            with atomic(path) as temporary:
                skipped = _write(source, framing, (len(source), *shape), temporary, on_corrupt)
                with atomic(record) as note:
                    note.write_text(json.dumps({"name": source.name, "key": key, "skipped": skipped}))
    names = tuple(source.where(index) for index in skipped)
    if skipped and on_corrupt == "raise":
        _decode(source, framing, skipped[0], on_corrupt)
    if skipped:
        rank_zero_warn(
            f"{source.name}: {len(skipped)} of {len(source)} images could not be decoded and are left out, the first "
            f"{names[0]}"
        )
    labels = None if source.labels is None else np.delete(source.labels, skipped)
    return PackedImages(source.name, key, labels, path, names)


def _lock(source: Source, store: Path) -> FileLock:
    return FileLock(store / f".{slug(source.name)}.lock")


def _recall(path: Path, record: Path) -> list[int] | None:
    """What was left out of an array, or None when there is no whole one (a copy of the folder may be cut short)."""
    try:
        np.load(path, mmap_mode="r")
        return json.loads(record.read_text())["skipped"]
    except (OSError, ValueError, EOFError):
        return None


def _sweep(source: Source, store: Path) -> None:
    """Remove what killed processes began; whoever holds the source's lock is the only one to pack it."""
    begun = re.compile(rf"\.{re.escape(slug(source.name))}-[\dx]+-[\da-f]{{16}}\.\w+\.\d+\.tmp")
    for stale in store.iterdir():
        if begun.fullmatch(stale.name):
            stale.unlink()


def _write(source: Source, framing: Framing, shape: tuple[int, ...], path: Path, on_corrupt: OnCorrupt) -> list[int]:
    """Write the array; returns the indices left out. Ordinary writes, since pages of a map would count as ours."""
    size = int(np.prod(shape))
    if size > (free := shutil.disk_usage(path.parent).free):
        raise InputError(
            f"{source.name} takes {size / 1e9:.1f} GB decoded at {shape[2]}x{shape[3]}, and {path.parent} has "
            f"{free / 1e9:.1f} GB left: free some, or take a smaller image_size"
        )
    skipped: list[int] = []
    chunk = max(16, min(256, 2**25 // (size // shape[0])))
    images = pooled(lambda index: _decode(source, framing, index, on_corrupt), len(source), chunk)
    console = Console(stderr=True)
    quiet = not console.is_terminal
    bar = track(images, f"decoding {source.name}", len(source), console=console, transient=True, disable=quiet)
    with path.open("wb") as file:
        _write_header(file, shape)
        for index, image in enumerate(bar):
            if image is None:
                skipped.append(index)
            else:
                file.write(image.data)
        if len(skipped) == len(source):
            raise InputError(f"none of the {len(source)} images of {source.name} can be decoded")
        file.seek(0)
        _write_header(file, (shape[0] - len(skipped), *shape[1:]))  # numpy leaves room for a longer one
    return skipped


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _decode(source: Source, framing: Framing, index: int, on_corrupt: OnCorrupt) -> npt.NDArray[np.uint8] | None:
    try:
        with source.open(index) as image:
            array = pixels(image, framing)
            return drawn_once(array, source.name, index) if framing.binarized else array
    except Exception as error:  # decoders raise all sorts
        if on_corrupt == "skip":
            return None
        raise InputError(
            f"{source.where(index)} cannot be decoded ({error}): mend or remove it, or set data.on_corrupt to skip"
        ) from None
