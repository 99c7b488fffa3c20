"""The two checkpoints of a run: the last, to go on from, and the best, to sample from."""

from datetime import timedelta
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_gen.callbacks.ending import is_last_epoch


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/last.ckpt``: now and then, at the end, and always whole, since a killed write leaves the old.

    Args:
        every_n_epochs: epochs from one save to the next.
        every_n_train_steps: training batches from one save to the next, in place of epochs.
        every_n_minutes: minutes from one save to the next, in place of epochs.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        every_n_train_steps: int | None = None,
        every_n_minutes: float | None = None,
    ) -> None:
        other = every_n_train_steps or every_n_minutes
        super().__init__(
            filename="last",
            save_top_k=1,
            every_n_epochs=None if other else every_n_epochs,
            every_n_train_steps=every_n_train_steps,
            train_time_interval=timedelta(minutes=every_n_minutes) if every_n_minutes else None,
            save_on_train_epoch_end=None if other else True,
            enable_version_counter=False,
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save when it is due, and at the end of training in any case.

        Args:
            trainer: the trainer.
            pl_module: the model.
            *args: Lightning's.
        """
        super().on_train_epoch_end(trainer, pl_module, *args)
        if is_last_epoch(trainer) and not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt``: the weights whose score was the best, at each epoch that has a score.

    Args:
        monitor: the logged figure to go by.
        mode: whether a small figure is good, or a large one.
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
        """Save if this epoch was scored, and scored best.

        Args:
            trainer: the trainer.
            pl_module: the model.
            *args: Lightning's.
        """
        if self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module, *args)
