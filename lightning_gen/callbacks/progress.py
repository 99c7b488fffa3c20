"""The progress bar of a run."""

import math
import time
from collections import deque
from dataclasses import replace
from typing import Any

import rich
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar as LightningProgressBar
from pytorch_lightning.trainer.states import TrainerFn

from lightning_gen.callbacks.checkpoints import BestCheckpoint
from lightning_gen.callbacks.display import Display, Progress, make_display
from lightning_gen.callbacks.run_length import position, time_limit_left
from lightning_gen.callbacks.timing import TimedCallback
from lightning_gen.types import TwoPlayers

MIN_SECONDS = 0.2
"""Seconds between two updates of the bar."""
LONG_SECONDS = 2.0
"""Seconds of a pause between training batches after which the bar says what is done in it."""
SPEED_UPDATES = 25
"""Number of the newest updates over which the speed is a mean."""
LABELS = {"loss/total": "loss", "val_loss/total": "validation loss"}


class ProgressBar(TimedCallback, LightningProgressBar):
    """One bar for the whole run: epoch, time left, two losses, the newest score and images per second.

    It is updated at most five times per second instead of after each batch, since Lightning collects the figures of a
    bar, which takes a fiftieth of the step of a small network. Validation and scores have no bar of their own; if they
    take more than two seconds, the bar says so. Without a terminal, a line is printed from time to time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._display: Display | None = None
        self._updated, self._long_pause = -math.inf, 0.0
        self._first_fraction: float | None = None
        self._speeds: deque[tuple[float, int]] = deque(maxlen=SPEED_UPDATES)
        self._shown = Progress("", None, 0.0, None)

    def disable(self) -> None:
        """Show nothing."""
        self._enabled = False

    def enable(self) -> None:
        """Show progress again."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        rich.get_console().print(*args, markup=False, highlight=False, soft_wrap=True, **kwargs)

    # ---- fit

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a run."""
        super().on_train_start(trainer, pl_module)
        self._first_fraction, self._long_pause = None, 0.0
        self._speeds.clear()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember how long the pause between two epochs was."""
        self._long_pause = self.stopwatch.resume()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the bar if it was not updated lately."""
        self.pause_after_last_batch(trainer)
        if self._is_due():
            self._show(self.progress(trainer, pl_module, batch_idx + 1))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Name the pause if the last one was long."""
        super().on_train_epoch_end(trainer, pl_module)
        if self._long_pause > LONG_SECONDS and self._enabled:
            self._name_pause(f"scores and pictures, about {self._long_pause:.0f} s")

    def progress(self, trainer: Any, model: Any, batches: int) -> Progress:
        """The progress of a run.

        Args:
            trainer: a trainer in ``fit``.
            model: the model.
            batches: number of batches of the current epoch that are done.

        Returns:
            What the bar shows.
        """
        words, fraction = position(trainer, batches)
        elapsed, limit = self.stopwatch.total(), time_limit_left(trainer)
        if self._first_fraction is None:
            self._first_fraction = fraction
        self._speeds.append((self.stopwatch.active(), int(getattr(model, "images_seen", 0))))
        left = remaining(elapsed, self._first_fraction, fraction, limit)
        if fraction is None and limit is not None:
            fraction = elapsed / (elapsed + limit) if elapsed + limit > 0 else 1.0
        return Progress(words, fraction, elapsed, left, (*figures(trainer, model), *self._speed()))

    def _speed(self) -> list[str]:
        (first, images), (last, newest) = self._speeds[0], self._speeds[-1]
        return [f"{(newest - images) / (last - first):,.0f} images/s"] if last > first and newest > images else []

    # ---- validation and tests, within a fit and on their own

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a pause of a fit, or the validation of a checkpoint."""
        if is_fit(trainer):
            super().on_validation_start(trainer, pl_module)
        else:
            self.stopwatch.start()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the test of a checkpoint."""
        self.stopwatch.start()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Show the progress of a long validation.

        Args:
            trainer: the trainer.
            pl_module: the model.
            outputs: unused.
            batch: unused.
            batch_idx: index of the batch.
            *args: further arguments of the hook.
        """
        if not is_fit(trainer):
            self._show_evaluation("validation", batch_idx, trainer.num_val_batches)
        elif self.stopwatch.pause_length() > LONG_SECONDS and self._is_due():
            self._name_pause(f"validation {batch_idx + 1}/{count(trainer.num_val_batches)}")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Show the progress of a test.

        Args:
            trainer: the trainer.
            pl_module: the model.
            outputs: unused.
            batch: unused.
            batch_idx: index of the batch.
            *args: further arguments of the hook.
        """
        self._show_evaluation("test", batch_idx, trainer.num_test_batches)

    def _show_evaluation(self, name: str, batch_idx: int, batches: Any) -> None:
        if self._is_due():
            total, elapsed = count(batches), self.stopwatch.total()
            fraction = min(1.0, (batch_idx + 1) / total)
            left = elapsed * (1 - fraction) / fraction
            self._show(Progress(f"{name} {batch_idx + 1}/{total}", fraction, elapsed, left))

    # ---- the display

    def _is_due(self) -> bool:
        """Whether the last update is long enough ago; then this one begins."""
        now = time.monotonic()
        if not self._enabled or now - self._updated < MIN_SECONDS:
            return False
        self._updated = now
        return True

    def _name_pause(self, activity: str) -> None:
        self._show(replace(self._shown, elapsed=self.stopwatch.total(), activity=activity))

    def _show(self, progress: Progress) -> None:
        self._shown = progress
        if self._display is None:
            self._display = make_display(rich.get_console())
        self._display.show(progress)

    def _close(self) -> None:
        if self._display is not None:
            self._display.close()
            self._display = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the display."""
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End the display and stop the stopwatch."""
        self._close()
        super().teardown(trainer, pl_module, stage)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_display": None}  # it has a lock


def is_fit(trainer: Any) -> bool:
    """Whether validation is a part of training."""
    return trainer.state.fn == TrainerFn.FITTING


def count(batches: Any) -> int:
    """The number of batches of all loaders together."""
    return int(sum(batches) if isinstance(batches, list) else batches)


def remaining(elapsed: float, first: float | None, fraction: float | None, limit: float | None) -> float | None:
    """Seconds until a run ends.

    Args:
        elapsed: seconds since the start of this session.
        first: the part of the run that was done before it.
        fraction: the part that is done now; None if neither epochs nor steps are limited.
        limit: seconds until the time limit; None without one.

    Returns:
        The seconds, or None if they are unknown.
    """
    estimates = [] if limit is None else [max(0.0, limit)]
    if first is not None and fraction is not None and fraction > first:
        estimates.append(elapsed * (1 - fraction) / (fraction - first))
    return min(estimates, default=None)


def figures(trainer: Any, model: Any) -> list[str]:
    """Two losses, and the newest and the best of the scores that choose the best checkpoint, as far as there are any.

    Args:
        trainer: a trainer in ``fit``.
        model: the model.

    Returns:
        Names and values.
    """
    values = trainer.callback_metrics
    names = (
        ("loss/generator", "loss/discriminator") if isinstance(model, TwoPlayers) else ("loss/total", "val_loss/total")
    )
    words = [f"{label(name)} {number(values[name])}" for name in names if name in values]
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, BestCheckpoint) and callback.monitor in values and callback.monitor not in names:
            monitor = str(callback.monitor)
            best = "" if callback.best_model_score is None else f" (best {number(callback.best_model_score)})"
            words.append(f"{label(monitor)} {number(values[monitor])}{best}")
    return words


def label(name: str) -> str:
    """A short name of a figure: ``generator``, ``loss``, ``validation loss``, ``FID``."""
    if name in LABELS:
        return LABELS[name]
    return name.rpartition("/")[2].upper() if name.startswith("fidelity/") else name.rpartition("/")[2]


def number(value: Any) -> str:
    """A number with four significant digits."""
    return f"{float(value):#.4g}".rstrip(".")
