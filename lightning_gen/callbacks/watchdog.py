"""Detects failures of two-player training, and reports each one with its evidence and its remedies.

measurements.py measures the model every few batches, symptoms.py detects failures from the measurements, remedies.py
lists what to change, and rollback.py restores earlier weights.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch

from lightning_gen.callbacks.measurements import Meter, weight_norms
from lightning_gen.callbacks.remedies import remedy_lines, run_settings
from lightning_gen.callbacks.rollback import load_checkpoint, restore, snapshot, usable_checkpoint
from lightning_gen.callbacks.statistics import Baselines
from lightning_gen.callbacks.symptoms import FailureDetector, Finding
from lightning_gen.checks import check_above, check_at_least, check_fraction
from lightning_gen.errors import InputError
from lightning_gen.lightning_compat import logging_step
from lightning_gen.logger_types import AlertLogger
from lightning_gen.types import TwoPlayers

Action = Literal["warn", "stop", "rollback"]


class Report(NamedTuple):
    """A failure that was detected.

    Attributes:
        failure: name of the failure.
        batches_seen: training batches so far.
        images_seen: training images so far.
        line: the message.
    """

    failure: str
    batches_seen: int
    images_seen: int
    line: str


class Watchdog(pl.Callback):
    """Reports failures of two-player training when they begin, and stops or rolls back the run.

    The failures are ``nan``, ``divergence``, ``mode_collapse``, ``oscillation`` and ``discriminator_too_strong``, which
    includes a vanishing gradient of the generator. The message goes to the terminal, to ``metrics.csv`` and to W&B as
    an alert. ``watchdog/<failure>`` is 1 where a failure begins and 0 where it ends. The statistics are logged at each
    measurement.

    Samples are drawn from the trained weights, because a failure shows later in their moving average. With the action
    ``warn``, training is bit for bit the same as without this callback. It is inactive for models that do not satisfy
    :class:`TwoPlayers`, and in a ``fast_dev_run``.

    Args:
        action: what to do besides reporting. ``stop`` ends the run. ``rollback`` restores the best checkpoint (or else
            the last, or else the weights at the start of the fit) with lower learning rates; images are counted on.
        every_n_batches: training batches between two measurements; null disables the watchdog.
        num_samples: number of fixed-noise samples per measurement.
        lr_factor: factor of every learning rate at a rollback, in (0, 1).
        max_rollbacks: maximum number of rollbacks; the next failure ends the run.
        seed: seed of the samples' noise.

    Attributes:
        reports: the failures of this fit.

    Raises:
        InputError: for a number out of range.
    """

    def __init__(
        self,
        action: Action = "warn",
        every_n_batches: int | None = 20,
        num_samples: int = 32,
        lr_factor: float = 0.5,
        max_rollbacks: int = 3,
        seed: int = 0,
    ) -> None:
        prefix = "watchdog."
        check_at_least(1, prefix=prefix, note=", or null to disable the watchdog", every_n_batches=every_n_batches)
        check_at_least(2, prefix=prefix, num_samples=num_samples)
        check_above(0, prefix=prefix, lr_factor=lr_factor)
        check_fraction(prefix=prefix, lr_factor=lr_factor)
        check_at_least(0, prefix=prefix, max_rollbacks=max_rollbacks)
        self.action: Action = action
        self.every_n_batches = every_n_batches
        self.num_samples = num_samples
        self.lr_factor = lr_factor
        self.max_rollbacks = max_rollbacks
        self.seed = seed
        self.reset()

    def reset(self) -> None:
        """Discard the state of the previous fit."""
        self.reports: list[Report] = []
        self.num_rollbacks = 0
        self.detector: FailureDetector | None = None
        self.meter = Meter(self.num_samples, self.seed)
        self._saved: dict[str, Any] = {}
        self._initial_state: dict[str, Any] | None = None

    # ---- hooks

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Discard the state of the previous fit."""
        if stage == "fit":
            self.reset()

    def state_dict(self) -> dict[str, Any]:
        """The baselines, the measurements and the number of rollbacks, which a resumed run continues with."""
        if self.detector is None:
            return {}
        # the keys are part of the checkpoints' format
        return {
            "levels": asdict(self.detector.history.baselines),
            "rollbacks": self.num_rollbacks,
            "detector": self.detector.state(),
            "meter": self.meter.state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state when training starts.

        Args:
            state_dict: what :meth:`state_dict` returned.

        Raises:
            InputError: if it is damaged.
        """
        Baselines(**state_dict["levels"])
        self._saved, self.num_rollbacks = state_dict, state_dict["rollbacks"]
        check_at_least(0, prefix="the checkpoint's ", rollbacks=self.num_rollbacks)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the measurements of a resumed run; otherwise record the weights before the first batch."""
        is_dry_run = getattr(trainer, "fast_dev_run", False)
        if self.every_n_batches is None or is_dry_run or not isinstance(pl_module, TwoPlayers):
            return
        self.detector = FailureDetector(self.every_n_batches, self._saved.get("levels"))
        if {"detector", "meter"} <= self._saved.keys():
            try:
                self.detector.load_state(self._saved["detector"])
                self.meter.load_state(self._saved["meter"])
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise InputError(f"the watchdog's state in the checkpoint is damaged: {error}") from None
        else:
            self.detector.reset(*torch.stack(weight_norms(pl_module)).tolist())
        if self.action == "rollback":
            self._initial_state = snapshot(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the loss terms; every ``every_n_batches``, measure the model, and report and act on a failure.

        Only rank 0 measures, since its samples and terms are as good as those of the other ranks. All ranks act.

        Args:
            trainer: the trainer.
            pl_module: the model.
            outputs: unused.
            batch: the training batch.
            batch_idx: unused.
        """
        model: Any = pl_module
        if self.detector is None or self.every_n_batches is None:
            return
        if trainer.is_global_zero:
            self.meter.record_terms(model.last_terms)
        if model.batches_seen % self.every_n_batches:
            return
        failure: Finding | None = None
        figures: dict[str, float] = {}
        if trainer.is_global_zero:
            measurement = self.meter.measure(trainer, model, batch)
            figures = measurement.figures()
            for finding in self.detector.update(measurement):
                figures[f"watchdog/{finding.failure}"] = float(finding.symptom is not None)
                failure = finding if finding.symptom is not None else failure
        suggestions = self.suggestions(trainer, model, failure) if failure else ""
        action = ""
        if self.action != "warn" and trainer.strategy.reduce_boolean_decision(failure is not None, all=False):
            action = self.act(trainer, model)
        if trainer.is_global_zero:
            self.log_figures(trainer, model, figures)
        if failure is not None:
            name = failure.failure.replace("_", " ")
            line = f"watchdog: {name} at {model.images_seen:,} images: {failure.evidence}.{suggestions}{action}"
            self.report(trainer, model, failure.failure, line)

    # ---- reporting

    def suggestions(self, trainer: pl.Trainer, model: Any, failure: Finding) -> str:
        """The remedies that apply, as the end of the message; empty without any."""
        remedies = failure.symptom.remedies if failure.symptom is not None else ()
        lines = remedy_lines(remedies, run_settings(trainer, model))
        return f" Try: {'; '.join(lines)}" if lines else ""

    def log_figures(self, trainer: pl.Trainer, model: Any, figures: Mapping[str, float]) -> None:
        """Log figures with ``images_seen``."""
        row = {**figures, "images_seen": float(model.images_seen)}
        for logger in trainer.loggers:
            logger.log_metrics(row, step=logging_step(trainer))

    def report(self, trainer: pl.Trainer, model: Any, failure: str, line: str) -> None:
        """Append to ``reports``, print above the progress bar, and send to every logger that takes alerts."""
        self.reports.append(Report(failure, model.batches_seen, model.images_seen, line))
        progress_bar = trainer.progress_bar_callback
        (print if progress_bar is None else progress_bar.print)(line)
        for logger in trainer.loggers:
            if isinstance(logger, AlertLogger):
                logger.log_alert(failure.replace("_", " "), line)

    # ---- acting

    def act(self, trainer: pl.Trainer, model: Any) -> str:
        """Stop the run or roll it back, on every rank.

        Args:
            trainer: the trainer.
            model: the model.

        Returns:
            What was done, as the end of the message.
        """
        if self.action == "rollback" and self.num_rollbacks < self.max_rollbacks:
            self.num_rollbacks += 1
            source = self.roll_back(trainer, model)
            count = f"{self.num_rollbacks} of {self.max_rollbacks}"
            return f". Rolled back to {source}, learning rates x {self.lr_factor:g} ({count})."
        trainer.should_stop = True
        return f". The run stops{f' after {self.num_rollbacks} rollbacks' if self.num_rollbacks else ''}."

    def roll_back(self, trainer: pl.Trainer, model: Any) -> str:
        """Restore earlier weights and optimizer states, with lower learning rates.

        Progress and learning-rate schedules go on: the number of images is the axis of every figure.

        Args:
            trainer: the trainer.
            model: the model.

        Returns:
            Which weights were restored, in words.
        """
        path = trainer.strategy.broadcast(usable_checkpoint(trainer) if trainer.is_global_zero else None)
        state = self._initial_state if path is None else load_checkpoint(Path(path))
        assert state is not None
        restore(trainer, model, state, self.lr_factor)
        # gradients and terms of the failure would be measured again
        for parameter in model.parameters():
            parameter.grad = None
        model.last_terms.clear()
        self.meter.clear_terms()
        if self.detector is not None:
            self.detector.reset(*torch.stack(weight_norms(model)).tolist())
        return "the weights at the start of the fit" if path is None else f"checkpoints/{Path(path).name}"
