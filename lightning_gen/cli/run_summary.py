"""What ``fit`` prints at the end of a run."""

from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from rich.console import Console

from lightning_gen.callbacks.checkpoints import BestCheckpoint
from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.callbacks.pictures import PictureCallback
from lightning_gen.callbacks.watchdog import Watchdog
from lightning_gen.loggers import WandbRunLogger


@rank_zero_only
def print_run_summary(trainer: Any, run_folder: Path) -> None:
    """Print a run's folder, last pictures, best checkpoint, scores, watchdog report and W&B address.

    Args:
        trainer: the Trainer, after fit.
        run_folder: the run's folder.
    """
    console = Console()

    def print_line(label: str, text: str) -> None:
        console.print(f"[bold]{label}[/bold]{' ' * (9 - len(label))}{text}", highlight=False, soft_wrap=True)

    console.print()
    print_line("Run", str(run_folder))
    for callback in trainer.callbacks:
        if isinstance(callback, PictureCallback) and callback.last_path is not None:
            print_line("Picture", str(callback.last_path))
        if isinstance(callback, BestCheckpoint) and callback.best_model_score is not None:
            score = float(callback.best_model_score)
            print_line("Best", f"{callback.best_model_path} ({callback.monitor} {score:.4g})")
        if isinstance(callback, Fidelity) and callback.last_card is not None:
            console.print(callback.last_card.table())
            print_line("Card", str(callback.last_path))
        if isinstance(callback, Watchdog) and callback.reports:
            console.print(callback.reports[-1].line, markup=False, highlight=False, soft_wrap=True)
    for logger in trainer.loggers:
        if isinstance(logger, WandbRunLogger):
            address = logger.sync_command or logger.url
            if address:
                print_line("W&B", address)
