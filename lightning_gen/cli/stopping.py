"""What the command line says and does when a signal or a time limit has stopped a run."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from lightning_gen.cli.commands import PROGRAM


def resume_command(run_folder: Path, config: str) -> str:
    """The command that goes on with a run.

    Args:
        run_folder: the run's folder.
        config: name of the configuration file in it.

    Returns:
        A line for a shell.
    """
    return shlex.join([PROGRAM, "fit", "--config", str(run_folder / config), "--ckpt_path", str(run_folder)])


def report(reason: str, trainer: Any, run_folder: Path, config: str) -> None:
    """Print one line: why a run stopped, after how many images, and the command that goes on.

    Args:
        reason: why it stopped.
        trainer: the trainer.
        run_folder: the run's folder.
        config: name of the configuration file in it.
    """
    images = f"{trainer.lightning_module.images_seen:,} images"
    if (run_folder / "checkpoints" / "last.ckpt").is_file():
        print(f"stopped by {reason} after {images}; to go on: {resume_command(run_folder, config)}", file=sys.stderr)
    else:
        print(f"stopped by {reason} after {images}; no checkpoint was saved", file=sys.stderr)


def requeue_slurm_job(number: signal.Signals) -> None:
    """Put a SLURM job back into the queue if the signal is the one that announces its end, SIGUSR1.

    Args:
        number: the signal that stopped training.
    """
    job = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ.get("SLURM_JOB_ID"))
    if job is None or number != signal.SIGUSR1:
        return
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    name = job if task is None else f"{job}_{task}"
    try:
        subprocess.run(["scontrol", "requeue", name], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the SLURM job {name} could not be put back into the queue: {error}", file=sys.stderr)
