"""Measurements of a two-player model in training: loss terms, norms, and samples from fixed noise."""

import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.images import to_uint8
from lightning_gen.inference import isolated_inference
from lightning_gen.types import Batch, ImageGenerator, Images, TwoPlayers

CLASS_INTERVAL = 10
"""Measurements between two counts of the classes, which need more samples than the other statistics."""
CLASS_SAMPLES = 100
MAX_CLASSES = 20
"""With more classes, each would get too few of the ``CLASS_SAMPLES`` samples."""
MIN_REAL_IMAGES = 4
"""The smallest batch whose spread is measured."""
SPREAD_WINDOW = 20
"""Measurements over which the spread of real images is averaged, because a small batch gives a rough estimate."""


class Measurement(NamedTuple):
    """The state of a run at one training batch; None for a quantity that was not measured.

    Attributes:
        batches_seen: training batches so far.
        terms: the values of each loss term, one per batch since the last measurement.
        generator_gradient: 2-norm of the generators' gradient.
        discriminator_gradient: 2-norm of the discriminators' gradient.
        generator_weights: 2-norm of the generators' weights.
        discriminator_weights: 2-norm of the discriminators' weights.
        diversity: mean distance between two samples, relative to that between two real images.
        contrast: mean standard deviation of a sample's pixels, relative to that of real images.
        real_distance: mean distance between two real images.
        classes: number of classes among the samples, and number of classes in the data.
    """

    batches_seen: int
    terms: Mapping[str, Sequence[float]]
    generator_gradient: float | None = None
    discriminator_gradient: float | None = None
    generator_weights: float | None = None
    discriminator_weights: float | None = None
    diversity: float | None = None
    contrast: float | None = None
    real_distance: float | None = None
    classes: tuple[int, int] | None = None

    def figures(self) -> dict[str, float]:
        """The statistics that are logged, under ``watchdog/<name>``."""
        values = {
            "generator_gradient": self.generator_gradient,
            "discriminator_gradient": self.discriminator_gradient,
            "diversity": self.diversity,
            "contrast": self.contrast,
            "classes": None if self.classes is None else float(self.classes[0]),
        }
        return {f"watchdog/{name}": value for name, value in values.items() if value is not None}


class Meter:
    """Measures a model in training without changing its state or any random state.

    Loss terms stay on the device until the next measurement, which transfers all of its numbers at once.

    Args:
        num_samples: number of fixed-noise samples per measurement.
        seed: seed of the samples' noise.
    """

    def __init__(self, num_samples: int, seed: int) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self.num_measurements = 0
        self._terms: list[dict[str, Tensor]] = []
        self._real_distances: deque[float] = deque(maxlen=SPREAD_WINDOW)
        self._real_contrasts: deque[float] = deque(maxlen=SPREAD_WINDOW)

    def state(self) -> dict[str, Any]:
        """Everything that the next measurement depends on, as plain values."""
        return {
            "num_measurements": self.num_measurements,
            "terms": [{name: float(value) for name, value in terms.items()} for terms in self._terms],
            "real_distances": list(self._real_distances),
            "real_contrasts": list(self._real_contrasts),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state` returned."""
        self.num_measurements = state["num_measurements"]
        self._terms = [{name: torch.tensor(value) for name, value in terms.items()} for terms in state["terms"]]
        self._real_distances.extend(state["real_distances"])
        self._real_contrasts.extend(state["real_contrasts"])

    def record_terms(self, terms: Mapping[str, Tensor]) -> None:
        """Record the loss terms of a training batch."""
        self._terms.append(dict(terms))

    def clear_terms(self) -> None:
        """Discard the loss terms since the last measurement."""
        self._terms = []

    def measure(self, trainer: pl.Trainer, model: Any, batch: Any) -> Measurement:
        """Measure a model after a training batch.

        Args:
            trainer: a trainer in ``fit``.
            model: a model that satisfies :class:`TwoPlayers`.
            batch: the batch, whose gradients the model still holds.

        Returns:
            The measurement.
        """
        self.num_measurements += 1
        names = [name for name in self._terms[-1] if all(name in terms for terms in self._terms)]
        series = [terms[name].float() for name in names for terms in self._terms]
        num_batches = len(self._terms)
        self.clear_terms()
        reals = batch.images if isinstance(batch, Batch) else batch
        has_reals = isinstance(reals, Tensor) and reals.ndim == 4 and len(reals) >= MIN_REAL_IMAGES
        fake_spread = spread(self.sample(trainer, model, self.num_samples)) if isinstance(model, ImageGenerator) else []
        real_spread = spread(reals[: self.num_samples]) if has_reals else []
        numbers = [*weight_norms(model), *gradient_norms(model), *fake_spread, *real_spread]
        values = torch.stack([value.to(model.device) for value in numbers + series]).tolist()
        weights, gradients, spreads, rest = values[:2], values[2:4], values[4 : len(numbers)], values[len(numbers) :]
        if trainer.scaler is not None:
            # the gradient scaler of fp16 provokes infinite gradients to find its scale, and skips their step
            gradients = [value if math.isfinite(value) else None for value in gradients]
        # before the first step of a player, also in a resumed run, there is no gradient
        has_gradient = [any(p.grad is not None for p in weights) for weights in players(model)]
        gradients = [value if has else None for value, has in zip(gradients, has_gradient, strict=True)]
        if has_reals:
            self._real_distances.append(spreads[-2])
            self._real_contrasts.append(spreads[-1])
        real_distance, real_contrast = mean(self._real_distances), mean(self._real_contrasts)
        comparable = bool(fake_spread) and real_distance and real_contrast
        return Measurement(
            batches_seen=model.batches_seen,
            terms={name: rest[i * num_batches : (i + 1) * num_batches] for i, name in enumerate(names)},
            generator_gradient=gradients[0],
            discriminator_gradient=gradients[1],
            generator_weights=weights[0],
            discriminator_weights=weights[1],
            diversity=spreads[0] / real_distance if comparable else None,
            contrast=spreads[1] / real_contrast if comparable else None,
            real_distance=real_distance,
            classes=self.count_classes(trainer, model),
        )

    def sample(self, trainer: pl.Trainer, model: Any, num: int) -> Images:
        """Sample from the trained weights, with the same noise at each call.

        Args:
            trainer: a trainer in ``fit``, whose precision is used.
            model: the model; a conditional one gets the classes 0, 1, ... in turn.
            num: number of samples.

        Returns:
            The samples in [-1, 1].
        """
        num_classes = getattr(model, "num_classes", 0)
        labels = torch.arange(num, device=model.device) % num_classes if num_classes else None
        generator = torch.Generator().manual_seed(self.seed)
        with isolated_inference(model, self.seed), trainer.precision_plugin.forward_context(), without_ema(model):
            return model.sample(num, labels=labels, generator=generator)

    def count_classes(self, trainer: pl.Trainer, model: Any) -> tuple[int, int] | None:
        """Count the classes among samples, at every ``CLASS_INTERVAL``-th measurement.

        Args:
            trainer: a trainer whose :class:`Fidelity` may have a classifier.
            model: the model.

        Returns:
            The number of classes among the samples and in the data; None without a classifier or between two counts.
        """
        classifier = find_classifier(trainer)
        if classifier is None or self.num_measurements % CLASS_INTERVAL or not isinstance(model, ImageGenerator):
            return None
        logits = classifier(to_uint8(self.sample(trainer, model, CLASS_SAMPLES))).logits
        return None if logits is None else (len(logits.argmax(1).unique()), classifier.classes)


@contextmanager
def without_ema(model: Any) -> Iterator[None]:
    """Sample from the trained weights inside the block, not from their moving average."""
    if not hasattr(model, "use_ema"):
        yield
        return
    use_ema, model.use_ema = model.use_ema, False
    try:
        yield
    finally:
        model.use_ema = use_ema


def find_classifier(trainer: pl.Trainer) -> Extractor | None:
    """The classifier of the trainer's :class:`Fidelity`; None without one or with more than ``MAX_CLASSES`` classes."""
    for callback in getattr(trainer, "callbacks", []):
        if isinstance(callback, Fidelity) and callback.extractor is not None:
            extractor = callback.extractor
            if extractor.name == "classifier" and 1 < extractor.classes <= MAX_CLASSES:
                return extractor
    return None


def players(model: TwoPlayers) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of the generators and of the discriminators."""
    return parameters(model.generators()), parameters(model.discriminators())


def parameters(networks: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The parameters of networks, in order."""
    return [parameter for network in networks for parameter in network.parameters()]


def weight_norms(model: TwoPlayers) -> list[Tensor]:
    """The 2-norms of the generators' and of the discriminators' weights."""
    return [total_norm(weights) for weights in players(model)]


def gradient_norms(model: TwoPlayers) -> list[Tensor]:
    """The 2-norms of the generators' and of the discriminators' gradients."""
    return [total_norm([p.grad for p in weights if p.grad is not None]) for weights in players(model)]


def total_norm(tensors: Sequence[Tensor]) -> Tensor:
    """The 2-norm of the concatenation of tensors, in float32."""
    return nn.utils.get_total_norm([tensor.detach() for tensor in tensors]).float()


def spread(images: Images) -> list[Tensor]:
    """The mean distance between two images, and the mean standard deviation of an image's pixels."""
    flat = images.detach().flatten(1).float()
    return [torch.pdist(flat).mean(), flat.std(1).mean()]


def mean(values: Collection[float]) -> float | None:
    """The mean of values; None for no values."""
    return sum(values) / len(values) if values else None
