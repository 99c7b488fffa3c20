"""Files and folders that commands write to, checked before any work is done."""

import os
from pathlib import Path

from lightning_gen.errors import InputError


def check_empty(out: Path, option: str = "--out") -> None:
    """Check that nothing in a folder can be overwritten.

    Args:
        out: the folder.
        option: the option that names it.

    Raises:
        InputError: if it is a file, or a folder that is not empty.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder with {option}")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty, and nothing in it is overwritten; name another folder with {option}")
    check_creatable(out, option)


def free_grid_path(out: Path) -> Path:
    """The file beside a folder for a grid of its images.

    Args:
        out: the value of ``--out``.

    Returns:
        The path ``<out>_grid.png``.

    Raises:
        InputError: if it exists.
    """
    folder = out.resolve()
    path = (out if out.name else folder).with_name(f"{folder.name}_grid.png")
    if path.exists():
        raise InputError(f"{path} exists, and is not overwritten; name another folder with --out")
    check_creatable(path)
    return path


def check_creatable(path: Path, option: str = "--out") -> None:
    """Check that a file or folder can be created, without creating it.

    Args:
        path: the file or folder.
        option: the option that names it.

    Raises:
        InputError: if a part of the path is a file, or the last folder of it that exists is not writable.
    """
    existing = path.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if existing != path.absolute() and not existing.is_dir():
        raise InputError(f"cannot write {path}: {existing} is not a folder; name another path with {option}")
    if not os.access(existing, os.W_OK):
        raise InputError(f"cannot write {path}: {existing} is not writable; name another path with {option}")
