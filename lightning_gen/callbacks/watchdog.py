"""Watches two-player training: names a failure once, in one line, with its evidence and what the field does about it.

Every few batches it looks at the loss terms of all batches since, at the gradients that the last step left, at the
weights, and at samples from noise that stays the same. symptoms.py judges the numbers, remedies.py knows the way out.
"""

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.callbacks.remedies import remedies
from lightning_gen.callbacks.rollback import good_checkpoint, load, restore, snapshot
from lightning_gen.callbacks.symptoms import Diagnosis, Failure, Look
from lightning_gen.errors import InputError
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.images import to_uint8
from lightning_gen.inference import isolated_inference
from lightning_gen.lightning_compat import logging_step
from lightning_gen.types import AlertLogger, Batch, ImageGenerator, Images, TwoPlayers

Action = Literal["warn", "stop", "rollback"]
CLASS_LOOKS = 10
"""Looks from one count of classes to the next: it takes more samples."""
CLASS_SAMPLES = 100
MOST_CLASSES = 20
"""Of more classes than that, too few samples fall to each."""
FEWEST_REALS = 4


class Report(NamedTuple):
    """A failure that was found.

    Attributes:
        failure: which.
        batches_seen: training batches until then.
        images_seen: images until then.
        line: what was said.
    """

    failure: Failure
    batches_seen: int
    images_seen: int
    line: str


class Watchdog(pl.Callback):
    """Says which failure a two-player run is in, once each time it begins, and acts on it.

    The failures are ``nan``, ``divergence``, ``mode_collapse``, ``oscillation`` and ``discriminator_too_strong``
    (vanishing gradient of the generator included). The line goes to the terminal, to ``metrics.csv`` and to W&B as an
    alert; ``watchdog/<failure>`` is 1 where it begins and 0 where it ends, and the evidence is logged at each look.

    The samples come from the trained weights, not from their moving average, which would show a failure late. Training
    is bit for bit what it is without this callback as long as the action is ``warn``. Nothing is done for a model that
    has not two players, nor in a ``fast_dev_run``.

    Args:
        action: what to do besides saying it. ``stop`` ends the run; ``rollback`` goes back to the best checkpoint (else
            the last, else the weights that the fit began with) with lower learning rates, while the count of images
            goes on.
        every_n_batches: batches from one look to the next; null never looks.
        num_samples: fixed-noise samples to draw at each look.
        lr_factor: what every learning rate is multiplied by at a rollback.
        max_rollbacks: after so many, the next failure ends the run.
        seed: of the samples' noise.

    Attributes:
        reports: the failures found in this fit.

    Raises:
        InputError: when a number is out of its range.
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
        if every_n_batches is not None and every_n_batches < 1:
            raise InputError(f"watchdog.every_n_batches is {every_n_batches}; it must be 1 or more, or null for never")
        if num_samples < 2:
            raise InputError(f"watchdog.num_samples is {num_samples}; it must be at least 2")
        if not 0 < lr_factor < 1:
            raise InputError(f"watchdog.lr_factor is {lr_factor}; it must be between 0 and 1")
        if max_rollbacks < 0:
            raise InputError(f"watchdog.max_rollbacks is {max_rollbacks}; it must be at least 0")
        self.action: Action = action
        self.every_n_batches = every_n_batches
        self.num_samples = num_samples
        self.lr_factor = lr_factor
        self.max_rollbacks = max_rollbacks
        self.seed = seed
        self.reports: list[Report] = []
        self._reset()

    def _reset(self) -> None:
        self.rollbacks = 0
        self._diagnosis: Diagnosis | None = None
        self._levels: dict[str, Any] | None = None
        self._terms: list[dict[str, Tensor]] = []
        self._distances: deque[float] = deque(maxlen=20)
        self._contrasts: deque[float] = deque(maxlen=20)
        self._start: dict[str, Any] | None = None
        self._looks = 0

    # ---- the life of a run

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget the fit before.

        Args:
            trainer: the trainer.
            pl_module: the model.
            stage: fit, validate or test.
        """
        if stage == "fit":
            self.reports = []
            self._reset()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know: the levels of the run's beginning, and the rollbacks."""
        if self._diagnosis is None:
            return {}
        return {"levels": asdict(self._diagnosis.levels), "rollbacks": self.rollbacks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was saved.

        Args:
            state_dict: what :meth:`state_dict` gave.
        """
        self._levels, self.rollbacks = state_dict["levels"], state_dict["rollbacks"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note what the weights are before the first batch.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        dry = getattr(trainer, "fast_dev_run", False)
        if self.every_n_batches is None or dry or not isinstance(pl_module, TwoPlayers):
            return
        self._diagnosis = Diagnosis(self.every_n_batches, self._levels)
        self._diagnosis.begin(*torch.stack(weight_norms(pl_module)).tolist())
        if self.action == "rollback":
            self._start = snapshot(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch's terms, and look when it is time.

        Args:
            trainer: the trainer.
            pl_module: the model.
            outputs: unused.
            batch: real images.
            batch_idx: its number.
        """
        model: Any = pl_module
        if self._diagnosis is None or self.every_n_batches is None:
            return
        if trainer.is_global_zero:
            self._terms.append(dict(model.last_terms))  # no number is asked for yet: that would wait for the device
        if model.batches_seen % self.every_n_batches:
            return
        # the first process judges alone, since its samples and terms are as good as any; what is done, all do
        failure: Failure | None = None
        evidence = ""
        figures: dict[str, float] = {}
        if trainer.is_global_zero:
            look = self.look(trainer, model, batch)
            figures = evidence_figures(look)
            for found in self._diagnosis.add(look):
                figures[f"watchdog/{found.failure}"] = float(found.evidence is not None)
                if found.evidence is not None:
                    failure, evidence = found.failure, found.evidence
        advice = self.advice(trainer, model, failure) if failure else ""
        done = ""
        if self.action != "warn" and trainer.strategy.reduce_boolean_decision(failure is not None, all=False):
            done = self.act(trainer, model)
        if trainer.is_global_zero:
            self.log_figures(trainer, model, figures)
        if failure is not None:
            where = f"{failure.replace('_', ' ')} at {model.images_seen:,} images"
            self.report(trainer, model, failure, f"watchdog: {where}: {evidence}.{advice}{done}")

    # ---- looking

    def look(self, trainer: pl.Trainer, model: Any, batch: Any) -> Look:
        """Gather what is to be seen, waiting for the device as seldom as possible.

        Args:
            trainer: the trainer.
            model: the model.
            batch: the batch that it was just trained on.

        Returns:
            The numbers.
        """
        self._looks += 1
        names = [name for name in self._terms[-1] if all(name in terms for terms in self._terms)]
        series = [terms[name].float() for name in names for terms in self._terms]
        batches = len(self._terms)
        self._terms = []
        gradients = [norm([p.grad for p in parameters(players) if p.grad is not None]) for players in sides(model)]
        reals = batch.images if isinstance(batch, Batch) else batch
        fakes = spread(self.draw(trainer, model, self.num_samples)) if isinstance(model, ImageGenerator) else []
        countable = isinstance(reals, Tensor) and reals.ndim == 4 and len(reals) >= FEWEST_REALS
        numbers = [*weight_norms(model), *gradients, *fakes, *(spread(reals[: self.num_samples]) if countable else [])]
        values = torch.stack([value.to(model.device) for value in numbers + series]).tolist()
        weights, gradient_norms, seen, rest = values[:2], values[2:4], values[4 : len(numbers)], values[len(numbers) :]
        terms = {name: rest[i * batches : (i + 1) * batches] for i, name in enumerate(names)}
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            # a step with infinite gradients is how the scaler of fp16 finds its scale; it skips that step
            gradient_norms = [value if math.isfinite(value) else None for value in gradient_norms]
        if countable:  # averaged, since a small batch's is a rough figure
            self._distances.append(seen[-2])
            self._contrasts.append(seen[-1])
        distance, contrast = mean(self._distances), mean(self._contrasts)
        sampled = bool(fakes) and distance and contrast
        return Look(
            batches_seen=model.batches_seen,
            terms=terms,
            generator_gradient=gradient_norms[0],
            discriminator_gradient=gradient_norms[1],
            generator_weights=weights[0],
            discriminator_weights=weights[1],
            diversity=seen[0] / distance if sampled else None,
            contrast=seen[1] / contrast if sampled else None,
            distance=distance,
            classes=self.count_classes(trainer, model),
        )

    def draw(self, trainer: pl.Trainer, model: Any, num: int) -> Images:
        """Draw samples from the noise that is the same each time, and leave no trace.

        Args:
            trainer: the trainer.
            model: the model.
            num: how many; of a conditional model, the classes in turn.

        Returns:
            The images.
        """
        num_classes = getattr(model, "num_classes", 0)
        labels = torch.arange(num, device=model.device) % num_classes if num_classes else None
        averaged = getattr(model, "use_ema", None)
        with isolated_inference(model, self.seed), trainer.precision_plugin.forward_context():
            try:
                model.use_ema = False
                return model.sample(num, labels=labels, generator=torch.Generator().manual_seed(self.seed))
            finally:
                if averaged is not None:
                    model.use_ema = averaged

    def count_classes(self, trainer: pl.Trainer, model: Any) -> tuple[int, int] | None:
        """Count the classes that samples show, now and then, where the run's fidelity has a classifier.

        Args:
            trainer: the trainer.
            model: the model.

        Returns:
            Classes seen, and classes that there are.
        """
        classifier = classifier_of(trainer)
        if classifier is None or self._looks % CLASS_LOOKS or not isinstance(model, ImageGenerator):
            return None
        logits = classifier(to_uint8(self.draw(trainer, model, CLASS_SAMPLES))).logits
        return None if logits is None else (len(logits.argmax(1).unique()), classifier.classes)

    # ---- speaking

    def advice(self, trainer: pl.Trainer, model: Any, failure: Failure) -> str:
        """The remedies, as the end of a line.

        Args:
            trainer: the trainer.
            model: the model.
            failure: what was found.

        Returns:
            A sentence, or nothing.
        """
        groups = [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]
        rates = dict(zip(("generator_lr", "discriminator_lr"), map(float, groups), strict=False))
        lines = remedies(failure, settings(model), rates, str(trainer.precision))
        return f" Try: {'; '.join(lines)}" if lines else ""

    def log_figures(self, trainer: pl.Trainer, model: Any, figures: Mapping[str, float]) -> None:
        """Log figures at their number of images.

        Args:
            trainer: the trainer.
            model: the model.
            figures: values by name.
        """
        row = {**figures, "images_seen": float(model.images_seen)}
        for logger in trainer.loggers:
            logger.log_metrics(row, step=logging_step(trainer))

    def report(self, trainer: pl.Trainer, model: Any, failure: Failure, line: str) -> None:
        """Say a line everywhere.

        Args:
            trainer: the trainer.
            model: the model.
            failure: what was found.
            line: what is said.
        """
        self.reports.append(Report(failure, model.batches_seen, model.images_seen, line))
        bar = trainer.progress_bar_callback
        (print if bar is None else bar.print)(line)  # a bar prints above itself
        for logger in trainer.loggers:
            if isinstance(logger, AlertLogger):
                logger.log_alert(failure.replace("_", " "), line)

    # ---- acting

    def act(self, trainer: pl.Trainer, model: Any) -> str:
        """Stop or go back; every process does the same.

        Args:
            trainer: the trainer.
            model: the model.

        Returns:
            What was done, as the end of the line.
        """
        if self.action == "rollback" and self.rollbacks < self.max_rollbacks:
            self.rollbacks += 1
            name = self.roll_back(trainer, model)
            return f". Back to {name}, learning rates x {self.lr_factor:g} ({self.rollbacks} of {self.max_rollbacks})."
        trainer.should_stop = True
        return f". The run stops{f' after {self.rollbacks} rollbacks' if self.rollbacks else ''}."

    def roll_back(self, trainer: pl.Trainer, model: Any) -> str:
        """Put good weights and optimizer states back, with lower learning rates.

        Progress and schedules go on: they count what was seen, and are the axis of every figure.

        Args:
            trainer: the trainer.
            model: the model.

        Returns:
            Which weights, in words.
        """
        path = trainer.strategy.broadcast(good_checkpoint(trainer) if trainer.is_global_zero else None)
        state = self._start if path is None else load(Path(path))
        assert state is not None
        restore(trainer, model, state, self.lr_factor)
        # what the failure left behind would be found again at the next look
        for parameter in model.parameters():
            parameter.grad = None
        model.last_terms.clear()
        self._terms = []
        if self._diagnosis is not None:
            self._diagnosis.forget()
            self._diagnosis.begin(*torch.stack(weight_norms(model)).tolist())
        return "the weights that the fit began with" if path is None else f"checkpoints/{Path(path).name}"


def sides(model: TwoPlayers) -> tuple[Sequence[nn.Module], Sequence[nn.Module]]:
    """The two players' networks, the generators first."""
    return model.generators(), model.discriminators()


def parameters(networks: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The parameters of networks."""
    return [parameter for network in networks for parameter in network.parameters()]


def settings(model: pl.LightningModule) -> dict[str, Any]:
    """A model's hyper-parameters: those that were given, and the defaults of those that were not.

    Args:
        model: its class's constructors hand what they do not name to the class above.

    Returns:
        Values by name.
    """
    found: dict[str, Any] = {}
    for cls in reversed(type(model).__mro__):
        if issubclass(cls, pl.LightningModule) and cls is not pl.LightningModule and "__init__" in vars(cls):
            named = signature(cls).parameters.values()
            found |= {each.name: each.default for each in named if each.default is not Parameter.empty}
    found |= model.hparams
    if not getattr(getattr(model, "objective", None), "has_targets", True):
        found.pop("label_smoothing", None)  # no labels to smooth
    return found


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """The 2-norm of tensors taken together."""
    return nn.utils.get_total_norm([tensor.detach() for tensor in tensors]).float()


def weight_norms(model: TwoPlayers) -> list[Tensor]:
    """The 2-norms of the generators' weights and of the discriminators'."""
    return [norm(parameters(players)) for players in sides(model)]


def spread(images: Images) -> list[Tensor]:
    """The mean distance of two images, and the mean standard deviation of an image's pixels."""
    flat = images.detach().flatten(1).float()
    return [torch.pdist(flat).mean(), flat.std(1).mean()]


def mean(values: Collection[float]) -> float | None:
    """The mean, if there is any value."""
    return sum(values) / len(values) if values else None


def evidence_figures(look: Look) -> dict[str, float]:
    """What is logged of a look."""
    figures = {
        "generator_gradient": look.generator_gradient,
        "discriminator_gradient": look.discriminator_gradient,
        "diversity": look.diversity,
        "contrast": look.contrast,
        "classes": None if look.classes is None else float(look.classes[0]),
    }
    return {f"watchdog/{name}": value for name, value in figures.items() if value is not None}


def classifier_of(trainer: pl.Trainer) -> Extractor | None:
    """The classifier that the run's fidelity scores with, where it has one; none is trained for the watchdog."""
    for callback in getattr(trainer, "callbacks", []):
        if isinstance(callback, Fidelity) and callback.extractor is not None:
            extractor = callback.extractor
            if extractor.name == "classifier" and 1 < extractor.classes <= MOST_CLASSES:
                return extractor
    return None
