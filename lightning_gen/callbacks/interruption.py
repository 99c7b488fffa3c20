"""Stopping a run by a signal: the batch ends, a checkpoint is saved, and the process can go on from there."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lightning_gen.callbacks.checkpoints import LastCheckpoint
from lightning_gen.checks import check_at_least
from lightning_gen.distributed import maximum_over_ranks
from lightning_gen.lightning_compat import request_stop, save_checkpoint_if_new

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
SECOND_AFTER = 1.0
"""Seconds after which a further SIGINT is a second one. A launcher passes on the one that the terminal sends to all."""
Handler = Callable[[int, FrameType | None], Any] | int | None


class Interruption(Checkpoint):
    """Ends training after the current batch when the process gets SIGINT (Ctrl-C), SIGTERM, SIGHUP or SIGUSR1.

    ``checkpoints/last.ckpt`` is saved, from which a resumed run continues exactly. A second SIGINT stops the process at
    once. Several processes stop after the same batch, whichever of them got the signal.

    Lightning handles SIGTERM alone, without a checkpoint, and its processes do not agree on the batch.

    Args:
        every_n_batches: batches after which several processes compare their signals.

    Attributes:
        signal: the signal that stops training, or None.
    """

    def __init__(self, every_n_batches: int = 10) -> None:
        check_at_least(1, prefix="interruption.", every_n_batches=every_n_batches)
        self.every_n_batches = every_n_batches
        self.signal: signal.Signals | None = None
        self._time = 0.0
        self._handlers: dict[int, Handler] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the handlers. Lightning has installed its own, which these replace."""
        self.signal = None
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._handle) for number in SIGNALS}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._time = signal.Signals(number), time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._time > SECOND_AFTER:
            raise KeyboardInterrupt

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask the trainer to stop after this batch if there was a signal; the last batch belongs to the epoch's end."""
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if not is_last and (trainer.world_size == 1 or (batch_idx + 1) % self.every_n_batches == 0):
            self._stop_after_a_signal(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last checkpoint and stop if there was a signal, which may have come during validation or scoring."""
        if self._stop_after_a_signal(trainer, pl_module):
            save_last(trainer)

    def _stop_after_a_signal(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        number = maximum_over_ranks(0 if self.signal is None else int(self.signal), pl_module.device)
        if number:
            self.signal = signal.Signals(number)
            request_stop(trainer)
        return number > 0

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the last checkpoint if training stops between two batches because of a signal."""
        if trainer.received_sigterm and isinstance(exception, SIGTERMException):
            save_last(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the handlers."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}


def save_last(trainer: Trainer) -> None:
    """Save the run's last checkpoint, unless it is of this batch already."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, LastCheckpoint):
            save_checkpoint_if_new(callback, trainer)
