"""The time that a fit takes, and the part of it that training batches take."""

import time
from collections.abc import Callable

from pytorch_lightning import Callback, LightningModule, Trainer


class Stopwatch:
    """Counts seconds, and separately those in which it was not paused. It is stopped until it is started.

    Args:
        clock: returns a time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = self._paused = 0.0
        self._pause_start: float | None = None
        self._end: float | None = 0.0

    def start(self) -> None:
        """Start at zero."""
        self._start, self._paused, self._pause_start, self._end = self._clock(), 0.0, None, None

    def pause(self) -> None:
        """Begin a pause, unless there is one."""
        if self._pause_start is None:
            self._pause_start = self._now()

    def resume(self) -> float:
        """End the pause, if there is one; its length in seconds."""
        length = self.pause_length()
        self._paused += length
        self._pause_start = None
        return length

    def stop(self) -> None:
        """Stop at the current time, unless it is stopped."""
        self._end = self._now()

    def pause_length(self) -> float:
        """Seconds of the current pause; 0 without one."""
        return 0.0 if self._pause_start is None else self._now() - self._pause_start

    def total(self) -> float:
        """Seconds from the start to now or to the end."""
        return self._now() - self._start

    def active(self) -> float:
        """As :meth:`total`, without the seconds of pauses."""
        return self.total() - self._paused - self.pause_length()

    def _now(self) -> float:
        return self._clock() if self._end is None else self._end


class TimedCallback(Callback):
    """Runs a stopwatch during a fit, paused between the last batch of an epoch and the next one, and in validation.

    Pauses are those of validation, scores, pictures and checkpoints. A subclass that has a hook at the end of training
    batches calls :meth:`pause_after_last_batch` in it.

    Attributes:
        stopwatch: the stopwatch of the current or the last fit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopwatch = Stopwatch()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the stopwatch."""
        self.stopwatch.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the pause between two epochs."""
        self.stopwatch.resume()

    def pause_after_last_batch(self, trainer: Trainer) -> None:
        """Begin the pause after an epoch's last batch."""
        if trainer.is_last_batch:
            self.stopwatch.pause()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a pause."""
        self.stopwatch.pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the pause of a validation within an epoch; after an epoch's last batch, it goes on."""
        if not trainer.is_last_batch:
            self.stopwatch.resume()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the pause of an epoch that ended before its last batch."""
        self.stopwatch.pause()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop the stopwatch."""
        self.stopwatch.stop()
