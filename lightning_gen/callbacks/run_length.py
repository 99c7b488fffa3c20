"""How long a run is: its limits, the part that is done, the time left, and why it ended."""

import math
from datetime import timedelta
from typing import Any

from pytorch_lightning.callbacks import EarlyStopping, Timer

from lightning_gen.callbacks.interruption import Interruption


def time_limit_left(trainer: Any) -> float | None:
    """Seconds until ``trainer.max_time`` has passed, negative after it; None without this limit."""
    timers = (callback for callback in trainer.callbacks if isinstance(callback, Timer))
    remaining = [left for timer in timers if (left := timer.time_remaining()) is not None]
    return min(remaining, default=None)


def describe_limits(trainer: Any) -> str:
    """Where a run ends, e.g. ``110 epochs of 44 batches``; ``no limit`` if it does not end by itself."""
    batches = trainer.num_training_batches
    each = f" of {plural(batches, 'batch', 'batches')}" if math.isfinite(batches) else ""
    words = [f"{plural(trainer.max_epochs, 'epoch')}{each}"] if has_max_epochs(trainer) else []
    words += [plural(trainer.max_steps, "step")] if has_max_steps(trainer) else []
    left = time_limit_left(trainer)
    words += [] if left is None else [f"{duration(left)} of time"]
    return ", at most ".join(words) or "no limit"


def has_max_epochs(trainer: Any) -> bool:
    """Whether the number of epochs is limited."""
    return trainer.max_epochs is not None and trainer.max_epochs > 0


def has_max_steps(trainer: Any) -> bool:
    """Whether the number of steps is limited."""
    return trainer.max_steps > 0


def position(trainer: Any, batches: int) -> tuple[str, float | None]:
    """Where a run is.

    Args:
        trainer: a trainer in ``fit``.
        batches: number of batches of the current epoch that are done.

    Returns:
        The epoch, counted from 1, or the step, of the limit that comes first; and the fraction of the run that is done,
        or None if neither epochs nor steps are limited.
    """
    epoch = trainer.current_epoch + 1
    found: list[tuple[float, str]] = []
    if has_max_epochs(trainer):
        part = batches / trainer.num_training_batches if trainer.num_training_batches else 0.0
        done = (trainer.current_epoch + part) / trainer.max_epochs
        found.append((done, f"epoch {epoch:,}/{trainer.max_epochs:,}"))
    if has_max_steps(trainer):
        steps = trainer.global_step
        found.append((steps / trainer.max_steps, f"epoch {epoch:,}, step {steps:,}/{trainer.max_steps:,}"))
    if not found:
        return f"epoch {epoch:,}", None
    fraction, words = max(found)
    return words, min(fraction, 1.0)


def stop_reason(trainer: Any) -> str:
    """Why a run ended, in words, after training."""
    for callback in trainer.callbacks:
        if isinstance(callback, Interruption) and callback.signal is not None:
            return f"by the signal {callback.signal.name}"
    left = time_limit_left(trainer)
    if left is not None and left <= 0:
        return "at trainer.max_time"
    if has_max_epochs(trainer) and trainer.current_epoch >= trainer.max_epochs:
        return f"at trainer.max_epochs {trainer.max_epochs}"
    if has_max_steps(trainer) and trainer.global_step >= trainer.max_steps:
        return f"at trainer.max_steps {trainer.max_steps}"
    for callback in trainer.callbacks:
        if isinstance(callback, EarlyStopping) and callback.stopped_epoch:
            return f"because {callback.monitor} did not improve for {callback.patience} validations"
    return "by a callback"


def plural(count: int, one: str, many: str = "") -> str:
    """A number and what is counted, e.g. ``1 step``; ``many`` is ``one`` with an s by default."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def duration(seconds: float) -> str:
    """A duration as hours, minutes and seconds, e.g. ``0:01:31``."""
    return str(timedelta(seconds=max(0, round(seconds))))
