"""Folders that commands write images to."""

from pathlib import Path

from lightning_gen.errors import InputError


def check_empty(out: Path) -> None:
    """Check that nothing in a folder can be overwritten.

    Args:
        out: the value of ``--out``.

    Raises:
        InputError: if it is a file, or a folder that is not empty.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder with --out")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty, and nothing in it is overwritten; name another folder with --out")
