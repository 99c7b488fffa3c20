"""Cache files of derived arrays: written atomically, read without running code, recomputed when damaged."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pytorch_lightning.utilities import rank_zero_warn

from lightning_gen.cache import DAMAGE, atomic, cache_dir

Arrays = Mapping[str, npt.NDArray[np.generic]]


def cache_path(kind: str, *parts: str) -> Path:
    """The file in the user's cache for content that depends on ``parts``.

    Args:
        kind: name of the sub-folder.
        *parts: keys of everything that the content depends on.

    Returns:
        The path.
    """
    return cache_dir() / kind / f"{sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.npz"


def read_arrays(path: Path) -> Arrays | None:
    """Read a cache file; None when it is missing, and with a warning when it is damaged."""
    if not path.exists():
        return None
    try:
        if not path.is_file():
            raise ValueError("it is not a regular file")
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (*DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        rank_zero_warn(f"{path} is damaged ({error}) and is computed again")
        return None


def read_arrays_of_shapes(path: Path, **shapes: tuple[int, ...]) -> Arrays | None:
    """Read a cache file; None when it is missing or damaged, or its arrays have other names or shapes."""
    arrays = read_arrays(path)
    if arrays is None or {name: array.shape for name, array in arrays.items()} != shapes:
        return None
    return arrays


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write a cache file atomically."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def cached(path: Path, make: Callable[[], Arrays], valid: Callable[[Arrays], bool]) -> Arrays:
    """Read a cache file, or compute its arrays with ``make`` and write them.

    Args:
        path: the file.
        make: computes the arrays, when the file is missing or damaged.
        valid: whether arrays that were read are those that ``make`` gives; others are computed again, with a warning.

    Returns:
        The arrays by name.
    """
    arrays = read_arrays(path)
    if arrays is not None and not valid(arrays):
        rank_zero_warn(f"{path} is damaged (its arrays have other names or shapes) and is computed again")
        arrays = None
    if arrays is None:
        arrays = make()
        write_arrays(path, arrays)
    return arrays
