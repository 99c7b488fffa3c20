"""Run folders: ``<runs>/<name>/<time>/``."""

import os
from datetime import datetime
from pathlib import Path, PurePath

from lightning_gen.errors import InputError

MAX_NAME_BYTES = 255
"""The length of a file's name on the file systems in use."""


def new_run_folder(runs: Path, name: str) -> Path:
    """Choose a folder that does not exist, without creating it.

    Args:
        runs: the folder of all runs.
        name: the experiment's name.

    Returns:
        The folder, named by the current time.

    Raises:
        InputError: if the name is not one of a folder in ``runs``.
    """
    check_name(name)
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = runs / name / time, 1
    while folder.exists():
        number += 1
        folder = runs / name / f"{time}_{number}"
    return folder


def check_name(name: str) -> None:
    """Check that an experiment's name is that of a folder in the folder of all runs, or of a folder further below it.

    Args:
        name: the name.

    Raises:
        InputError: if the name is empty or absolute, or has a part ``..`` or one that no file system takes.
    """
    parts = PurePath(name).parts
    if not parts or PurePath(name).is_absolute() or ".." in parts or not name.isprintable():
        raise InputError(f"--name is {name!r}; it must name a folder below --runs, without .. and special characters")
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in parts):
        raise InputError(f"--name has a part of more than {MAX_NAME_BYTES} bytes, which no file system takes")


def latest_run_folder(runs: Path, name: str) -> Path:
    """Find the run of an experiment whose last checkpoint is the newest.

    Args:
        runs: the folder of all runs.
        name: the experiment's name.

    Returns:
        The run's folder.

    Raises:
        InputError: if the name is invalid, or the experiment has no run with a checkpoint.
    """
    check_name(name)
    checkpoints = sorted((runs / name).glob("*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not checkpoints:
        raise InputError(f"there is no earlier run in {runs / name} to resume; leave out --ckpt_path last")
    return checkpoints[-1].parent.parent


def run_folder_of(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint belongs to, otherwise the checkpoint's own folder."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent


def create_run_folder(folder: Path) -> None:
    """Create a run's folder unless it exists, and check that it is writable.

    Args:
        folder: the folder.

    Raises:
        InputError: if it cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}; name another folder with --runs") from None
