"""The two checkpoints of a run: the last, to resume from, and the best, to sample from."""

from datetime import timedelta
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_gen.callbacks.ending import is_last_epoch
from lightning_gen.lightning_compat import save_checkpoint_if_new


class LastCheckpoint(ModelCheckpoint):
    """Saves ``checkpoints/last.ckpt`` at regular intervals and at the end of training.

    The file is replaced atomically, so that an interrupted write leaves the previous checkpoint intact.

    Args:
        every_n_epochs: epochs between two checkpoints.
        every_n_train_steps: training batches between two checkpoints; replaces ``every_n_epochs``.
        every_n_minutes: minutes between two checkpoints; replaces ``every_n_epochs``.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        every_n_train_steps: int | None = None,
        every_n_minutes: float | None = None,
    ) -> None:
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

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save after every ``every_n_epochs``-th epoch and after the last one."""
        super().on_train_epoch_end(trainer, pl_module, *args)
        if is_last_epoch(trainer):
            save_checkpoint_if_new(self, trainer)


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
