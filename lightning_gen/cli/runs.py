"""The folders that runs leave: ``<runs>/<name>/<time>/``."""

from datetime import datetime
from pathlib import Path

import torch

from lightning_gen.errors import InputError


def new_run(runs: Path, name: str) -> Path:
    """Name a folder that does not exist yet.

    Args:
        runs: the folder of all runs.
        name: the experiment.

    Returns:
        The folder; it is not made.
    """
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    run, number = runs / name / time, 1
    while run.exists():
        number += 1
        run = runs / name / f"{time}_{number}"
    return run


def newest_run(runs: Path, name: str) -> Path:
    """Find the run of a name that saved a checkpoint last.

    Args:
        runs: the folder of all runs.
        name: the experiment.

    Returns:
        The run's folder.

    Raises:
        InputError: when there is none.
    """
    saved = sorted((runs / name).glob("*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not saved:
        raise InputError(f"there is no earlier run in {runs / name} to go on with; leave out --ckpt_path last")
    return saved[-1].parent.parent


def run_of(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint belongs to, or else the checkpoint's own folder."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent


def check_seed(seed: int) -> None:
    """Refuse a seed that no generator takes.

    Args:
        seed: the seed.

    Raises:
        InputError: when it is negative.
    """
    if seed < 0:
        raise InputError(f"--seed is {seed}; it must not be negative")


def usable(device: str | None) -> str:
    """Check that there is a device.

    Args:
        device: its name, or None for the best that there is.

    Returns:
        Its name.

    Raises:
        InputError: when torch cannot use it here.
    """
    name = device or best_device()
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device is {name}, which cannot be used here ({str(error).splitlines()[0]})") from None
    return name


def best_device() -> str:
    """The accelerator that there is, or the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return "cpu" if accelerator is None else accelerator.type
