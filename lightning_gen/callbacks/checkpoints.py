"""The two checkpoints of a run: the last, to resume from, and the best, to sample from."""

import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_gen.cache import remove_temporaries
from lightning_gen.callbacks.ending import is_last_epoch
from lightning_gen.checks import check_above, check_at_least
from lightning_gen.lightning_compat import save_checkpoint_if_new


class LastCheckpoint(ModelCheckpoint):
    """Saves ``checkpoints/last.ckpt`` at regular intervals and at the end of training.

    Args:
        every_n_epochs: epochs between two checkpoints.
        every_n_train_steps: training batches between two checkpoints; replaces ``every_n_epochs``.
        every_n_minutes: minutes between two checkpoints; replaces ``every_n_epochs``.
        keep: number of the last checkpoints to keep; from 2 on, each is also saved as ``images_<images seen>.ckpt``.

    Raises:
        InputError: for a number out of range.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        every_n_train_steps: int | None = None,
        every_n_minutes: float | None = None,
        keep: int = 1,
    ) -> None:
        check_at_least(
            1, prefix="last.", every_n_epochs=every_n_epochs, every_n_train_steps=every_n_train_steps, keep=keep
        )
        check_above(0, prefix="last.", every_n_minutes=every_n_minutes)
        other_interval = every_n_train_steps or every_n_minutes
        super().__init__(
            filename="last",
            save_top_k=1,
            every_n_epochs=None if other_interval else every_n_epochs,
            every_n_train_steps=every_n_train_steps,
            train_time_interval=timedelta(minutes=every_n_minutes) if every_n_minutes else None,
            save_on_train_epoch_end=None if other_interval else True,
            enable_version_counter=False,
        )

        self.keep = keep

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove what killed processes left of the checkpoints that they were writing."""
        if trainer.is_global_zero and self.dirpath is not None:
            remove_temporaries(Path(self.dirpath))

    # Lightning calls no hook after a checkpoint has been saved (pytorch_lightning 2.6, callbacks/model_checkpoint.py).
    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        super()._save_checkpoint(trainer, filepath)
        model: Any = trainer.lightning_module
        if self.keep > 1 and trainer.is_global_zero:
            keep_copies(Path(filepath), model.images_seen, self.keep)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save at an interval of batches or minutes; the last batch of an epoch waits for the epoch's end.

        A run that resumes from a checkpoint between the two would have neither the epoch's validation nor its scores
        and pictures.

        Args:
            trainer: the trainer.
            pl_module: the model.
            *args: further arguments of the hook.
        """
        if not trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, *args)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save if the last batch's turn has come, after every ``every_n_epochs``-th epoch and after the last one."""
        if trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, None, None, 0)
        super().on_train_epoch_end(trainer, pl_module, *args)
        if is_last_epoch(trainer):
            save_checkpoint_if_new(self, trainer)


def keep_copies(path: Path, images_seen: int, num: int) -> None:
    """Keep the last checkpoints under names of their own, which take no space of their own where links are possible.

    Args:
        path: the checkpoint that was saved.
        images_seen: the number in its copy's name.
        num: number of copies; older ones are removed.
    """
    copy = path.with_name(f"images_{images_seen:012d}.ckpt")
    copy.unlink(missing_ok=True)
    try:
        os.link(path, copy)
    except OSError:  # a file system without links
        shutil.copy2(path, copy)
    for old in sorted(path.parent.glob("images_*.ckpt"))[:-num]:
        old.unlink()


class BestCheckpoint(ModelCheckpoint):
    """Saves ``checkpoints/best.ckpt``, the checkpoint with the best score, after each epoch that was scored.

    Args:
        monitor: name of the logged score.
        mode: whether the smallest (``min``) or the largest (``max``) score is the best.
    """

    def __init__(self, monitor: str = "fidelity/fid", mode: Literal["min", "max"] = "min") -> None:
        super().__init__(
            filename="best",
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save if this epoch has the best score so far."""
        if self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module, *args)
