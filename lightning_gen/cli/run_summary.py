"""What ``fit`` prints at the end of a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rich
from lightning_utilities.core.rank_zero import rank_zero_only

from lightning_gen.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.callbacks.figures import TrainingFigures
from lightning_gen.callbacks.header import print_line
from lightning_gen.callbacks.pictures import PictureCallback
from lightning_gen.callbacks.run_length import duration, stop_reason
from lightning_gen.callbacks.watchdog import Watchdog
from lightning_gen.loggers import WandbRunLogger


@rank_zero_only
def print_run_summary(trainer: Any, run_folder: Path) -> None:
    """Print a run's scores, duration, end, folder, pictures, checkpoints, watchdog report and W&B address.

    Args:
        trainer: the Trainer, after fit.
        run_folder: the run's folder.
    """
    console = rich.get_console()
    console.print()
    for callback in trainer.callbacks:
        if isinstance(callback, Fidelity) and callback.last_card is not None:
            console.print(callback.last_card.table())
            print_line("Card", within(run_folder, callback.last_path))
        if isinstance(callback, Watchdog) and callback.reports:
            console.print(callback.reports[-1].line, markup=False, highlight=False, soft_wrap=True)
    print_line("Stopped", f"{stop_reason(trainer)}, after {trainer.lightning_module.images_seen:,} images")
    for callback in trainer.callbacks:
        if isinstance(callback, TrainingFigures):
            print_line("Time", time_line(callback, trainer.lightning_module.images_seen))
    print_line("Run", str(run_folder))
    for callback in trainer.callbacks:
        if isinstance(callback, PictureCallback) and callback.last_path is not None:
            print_line("Picture", within(run_folder, callback.last_path))
    for label, text in checkpoint_lines(trainer, run_folder):
        print_line(label, text)
    for logger in trainer.loggers:
        if isinstance(logger, WandbRunLogger):
            address = logger.sync_command or logger.url
            if address:
                print_line("W&B", address)


def time_line(figures: TrainingFigures, images_seen: int) -> str:
    """The duration of this session, the part of it that training took, and images per second of that part."""
    watch, images = figures.stopwatch, images_seen - figures.first_images_seen
    text = duration(watch.total())
    if watch.active() > 0 and images > 0:
        text += f", of which training {duration(watch.active())} at {images / watch.active():,.0f} images/s"
    if figures.earlier_seconds > 0:
        text += f"; {duration(figures.seconds)} with the earlier sessions of the run"
    return text


def checkpoint_lines(trainer: Any, run_folder: Path) -> Iterator[tuple[str, str]]:
    """The best and the last checkpoint, each with its score if there is one.

    Args:
        trainer: the Trainer, after fit.
        run_folder: the run's folder.

    Yields:
        A label and a text.
    """
    monitor = None
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, BestCheckpoint) and callback.best_model_score is not None:
            monitor = callback.monitor
            yield (
                "Best",
                f"{within(run_folder, callback.best_model_path)} ({monitor} {float(callback.best_model_score):.4g})",
            )
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, LastCheckpoint) and callback.best_model_path:
            score = trainer.callback_metrics.get(monitor)
            of_score = "" if score is None else f" ({monitor} {float(score):.4g})"
            yield "Last", within(run_folder, callback.best_model_path) + of_score


def within(folder: Path, path: str | Path | None) -> str:
    """A path relative to a folder, if it is in it."""
    absolute = Path(path or "").absolute()
    return str(absolute.relative_to(folder.absolute()) if absolute.is_relative_to(folder.absolute()) else path)
