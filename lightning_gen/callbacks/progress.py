"""The progress bar of a run."""

import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar

MIN_SECONDS = 0.2
"""Seconds between two updates of the bar."""


class ProgressBar(RichProgressBar):
    """Lightning's bar, updated at most five times per second instead of after each batch.

    Lightning's own interval is a number of batches, and it collects the figures of the bar after each of them, which
    takes a fiftieth of the step of a small network.
    """

    _updated = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the bar after the last batch of an epoch, and otherwise if it was not updated lately."""
        now = time.monotonic()
        if now - self._updated >= MIN_SECONDS or batch_idx + 1 >= self.total_train_batches:
            self._updated = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
