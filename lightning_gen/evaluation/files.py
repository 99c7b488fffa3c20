"""Derived arrays on disk: written whole or not at all, read without running anything, made again when damaged."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lightning_gen.cache import atomic, cache_dir

Arrays = Mapping[str, npt.NDArray[np.generic]]


def cache_path(kind: str, *parts: str) -> Path:
    """Name a cache file after everything that its content depends on.

    Args:
        kind: what the file holds; its folder.
        *parts: keys of the sources.

    Returns:
        A path in the user's cache.
    """
    return cache_dir() / kind / f"{sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.npz"


def read_arrays(path: Path) -> Arrays | None:
    """Read a cache file.

    Args:
        path: written by ``write_arrays``.

    Returns:
        Its arrays, or None when there is no such file or it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error):
        return None


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write a cache file; a killed write leaves the old one whole.

    Args:
        path: the file.
        arrays: what to keep, by name.
    """
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def cached(path: Path, make: Callable[[], Arrays]) -> Arrays:
    """Read a cache file, or make and keep its content.

    Args:
        path: the file.
        make: makes the arrays when the file is missing or damaged.

    Returns:
        The arrays.
    """
    arrays = read_arrays(path)
    if arrays is None:
        arrays = make()
        write_arrays(path, arrays)
    return arrays
