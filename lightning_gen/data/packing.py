"""Decodes a source once, to a memory-mapped uint8 array on disk.

The array is a ``.npy`` file ``(n, channels, height, width)``, named by the hash of its source and format; a ``.json``
file beside it lists the images that could not be decoded. The array is written in order, with bounded memory, to a
temporary file that replaces the target when it is complete. One process decodes while the others wait.
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
from rich.progress import Progress

from lightning_gen.cache import DAMAGE, atomic, cache_dir, check_writable
from lightning_gen.data.binarize import binarize_static
from lightning_gen.data.decode import Framing, decode_image
from lightning_gen.data.parallel import map_ranges
from lightning_gen.data.sources import IndexArray, Scan, Source, slug
from lightning_gen.errors import InputError
from lightning_gen.types import ImageShape, StoredImages

VERSION = 1
"""Version of the decoding, part of the arrays' keys; to be raised when the same source would give other pixels."""
BINARIZATION = 2
"""Version of the seeds of static binarisation, likewise."""
WRITE_PERMISSIONS = 0o222
MAX_RANGE_BYTES = 2**22
"""Maximum size of decoded images that are sent from one process to another at once."""
OnCorrupt = Literal["raise", "skip"]


@dataclass
class PackedImages:
    """An image set in a memory-mapped array.

    Attributes:
        name: dataset and split.
        key: hash of the images' and labels' content and of their format.
        labels: class of each image, or None.
        path: file of the array.
        skipped: the omitted images, which could not be decoded.
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
        return {name: value for name, value in self.__dict__.items() if name != "array"}  # pickle would copy the array


def derived_folder(path: Path) -> Path:
    """The folder for files derived from the data in ``path``: ``path/.lightning_gen``, or one in the user's cache.

    The user's cache is used when ``path`` does not exist, and when it has no write permission, even for the superuser,
    who could write there. An :class:`InputError` is raised when neither folder can be written.
    """
    beside_data = path / ".lightning_gen"
    try:
        if path.stat().st_mode & WRITE_PERMISSIONS:
            beside_data.mkdir(exist_ok=True)
            with TemporaryFile(dir=beside_data):
                return beside_data
    except OSError:
        pass
    return folder_in_cache(str(path.resolve()))


def folder_in_cache(key: str) -> Path:
    """A folder for derived files in the user's cache, one for each key; an unwritable cache is an InputError."""
    folder = cache_dir() / "data" / blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    check_writable(folder)
    return folder


def scan_source(source: Source, cache_folder: Path) -> Scan:
    """Scan a source; other processes that scan it wait, and then read the cached result."""
    with _lock(source, cache_folder):
        return source.scan(cache_folder)


def pack(source: Source, scan: Scan, framing: Framing, cache_folder: Path, on_corrupt: OnCorrupt) -> PackedImages:
    """Decode a source to an array on disk, unless the array exists.

    Args:
        source: the images.
        scan: the result of :func:`scan_source`.
        framing: the target format.
        cache_folder: folder of the array.
        on_corrupt: ``raise`` for a file that cannot be decoded, or ``skip`` it with a warning.

    Returns:
        The image set.

    Raises:
        InputError: when a file, or every file, cannot be decoded, or the disk is full.
    """
    binarize_name = f"{source.name} {BINARIZATION}" if framing.binarized else ""  # the name seeds the binarisation
    key = blake2b(f"{VERSION} {scan.content} {framing} {binarize_name}".encode(), digest_size=16).hexdigest()
    shape = (framing.channels, *([framing.size] * 2 if framing.size else scan.sizes[0]))
    path = cache_folder / f"{slug(source.name)}-{'x'.join(map(str, shape))}-{key[:16]}.npy"
    metadata_path = path.with_suffix(".json")
    with _lock(source, cache_folder):
        _remove_unfinished_files(source, cache_folder)
        skipped = _read_skipped(path, metadata_path, len(source), shape)
        if skipped is None:
            with atomic(path) as temporary:
                skipped = _write_array(source, framing, (len(source), *shape), temporary, on_corrupt)
                with atomic(metadata_path) as temporary_metadata:
                    temporary_metadata.write_text(json.dumps({"name": source.name, "key": key, "skipped": skipped}))
    skipped_files = tuple(source.location(index) for index in skipped)
    if skipped and on_corrupt == "raise":
        _decode(source, framing, skipped[0], on_corrupt)  # raises
    if skipped:
        rank_zero_warn(
            f"{source.name}: {len(skipped)} of {len(source)} images could not be decoded and are left out, the first "
            f"{skipped_files[0]}"
        )
    labels = None if source.labels is None else np.delete(source.labels, skipped)
    return PackedImages(source.name, key, labels, path, skipped_files)


def _lock(source: Source, cache_folder: Path) -> FileLock:
    return FileLock(cache_folder / f".{slug(source.name)}.lock")


def _read_skipped(path: Path, metadata_path: Path, num: int, shape: tuple[int, ...]) -> list[int] | None:
    """The indices omitted from an array; None when the array does not exist, and with a warning when it is damaged."""
    if not (path.exists() and metadata_path.exists()):
        return None
    try:
        if not (path.is_file() and metadata_path.is_file()):
            raise ValueError("it is not a regular file")
        array = np.load(path, mmap_mode="r")
        skipped = json.loads(metadata_path.read_text())["skipped"]
        indices = np.array(skipped, dtype=np.int64)
        if array.dtype != np.uint8 or array.shape != (num - len(skipped), *shape):
            raise ValueError(f"it is an array of {array.dtype} {array.shape}")
        if indices.ndim != 1 or not np.isin(indices, np.arange(num)).all() or len(np.unique(indices)) != len(indices):
            raise ValueError("its list of omitted images is invalid")
    except DAMAGE as error:
        rank_zero_warn(f"{path} is damaged ({error}) and is written again")
        return None
    return skipped


def _remove_unfinished_files(source: Source, cache_folder: Path) -> None:
    """Remove temporary files of killed processes; the caller holds the lock, so no other process writes to them."""
    temporary = re.compile(rf"\.{re.escape(slug(source.name))}-[\dx]+-[\da-f]{{16}}\.\w+\.\d+\.tmp")
    for path in cache_folder.iterdir():
        if temporary.fullmatch(path.name):
            path.unlink()


def _write_array(
    source: Source, framing: Framing, shape: tuple[int, ...], path: Path, on_corrupt: OnCorrupt
) -> list[int]:
    """Write the array and return the omitted indices.

    The file is written without a memory map, whose pages would count towards the memory of this process.
    """
    num_bytes = int(np.prod(shape))
    if num_bytes > (free := shutil.disk_usage(path.parent).free):
        raise InputError(
            f"{source.name} takes {num_bytes / 1e9:.1f} GB decoded at {shape[2]}x{shape[3]}, and {path.parent} has "
            f"{free / 1e9:.1f} GB left; free disk space, or set a smaller image_size"
        )
    skipped: list[int] = []
    num_at_once = max(1, min(256, MAX_RANGE_BYTES // (num_bytes // shape[0])))
    parts = map_ranges(lambda part: _decode_range(source, framing, part, on_corrupt), len(source), num_at_once)
    with path.open("wb") as file, _progress_bar() as progress:
        task = progress.add_task(f"decoding {source.name}", total=len(source))
        _write_header(file, shape)
        for pixels, skipped_part, num in parts:
            file.write(pixels)
            skipped += skipped_part
            progress.advance(task, num)
        if len(skipped) == len(source):
            raise InputError(f"none of the {len(source)} images of {source.name} can be decoded")
        file.seek(0)
        _write_header(file, (shape[0] - len(skipped), *shape[1:]))  # numpy pads headers, so it has the same length
    return skipped


def _progress_bar() -> Progress:
    """A bar in a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _decode_range(source: Source, framing: Framing, part: range, on_corrupt: OnCorrupt) -> tuple[bytes, list[int], int]:
    """The pixels of some images, the indices of those that cannot be decoded, and the number of both together."""
    images = [_decode(source, framing, index, on_corrupt) for index in part]
    skipped = [index for index, image in zip(part, images, strict=True) if image is None]
    return b"".join(image.data for image in images if image is not None), skipped, len(part)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _decode(source: Source, framing: Framing, index: int, on_corrupt: OnCorrupt) -> npt.NDArray[np.uint8] | None:
    try:
        with source.open(index) as image:
            array = decode_image(image, framing)
            return binarize_static(array, source.name, index) if framing.binarized else array
    except Exception as error:  # decoders raise many types
        if on_corrupt == "skip":
            return None
        raise InputError(
            f"{source.location(index)} cannot be decoded ({error}); repair or remove it, or set data.on_corrupt to skip"
        ) from None
