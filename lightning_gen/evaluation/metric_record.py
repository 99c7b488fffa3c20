"""The record of a metric, and the inputs that metrics are computed from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from lightning_gen.evaluation.copies import CopyStatistics
from lightning_gen.evaluation.distance import ImageDistance
from lightning_gen.evaluation.extractor import Extractor, Features
from lightning_gen.types import Labels, Latents

Vectors = Float[Tensor, "_ features"]
Statistics = Mapping[str, npt.NDArray[np.generic]]
"""Mean ``mu`` (width) and covariance ``sigma`` (width, width) of features."""
Scores = dict[str, float]
Direction = Literal["higher", "lower", "one"] | None
"""Which values of a score are better: higher ones, lower ones or those nearest to one; None for a spread."""
Need = Literal[
    "features",  # feature vectors of the generated and the reference images
    "statistics",  # mean and covariance of the features of both
    "logits",  # class scores of the generated images
    "class_logits",  # class scores for the classes of the scored dataset
    "labels",  # the requested class of each generated image
    "input_labels",  # the class of each translation's input
    "reconstructions",  # pairs of a reconstruction and its original
    "targets",  # pairs of a translation, or an image of a folder, and its target
    "cropped_targets",  # the same without their border, for super-resolution
    "reduced",  # pairs of a super-resolved image, reduced to the size of its input, and that input
    "perceptual",  # a network that compares pairs
    "likelihood",  # log p(x), or a bound
    "held_out",  # the training images and images held out from training
    "latents",  # a latent-variable model with an approximate posterior
    "generator",  # the generator itself, which a probe evaluates
    "distance",  # a distance of images that are not rounded
]

Inputs = TypeVar("Inputs")


class Reference(NamedTuple):
    """Features of the reference images; empty where no requested metric needs them."""

    vectors: Vectors
    statistics: Statistics


@dataclass(frozen=True)
class FeatureInputs:
    """What the metrics of generated images are computed from.

    Attributes:
        extractor: the extractor that computed the features; None where no metric needs features.
        features: features of the generated images; empty without an extractor.
        reference: features of the reference images.
        num_generated: the number of generated images.
        num_reference: the number of reference images.
        per_image: values of each generated image, by the name of the metric that averages them.
        copies: the statistics of data-copying; None where no requested metric needs held-out images.
    """

    extractor: Extractor | None
    features: Features
    reference: Reference
    num_generated: int
    num_reference: int
    per_image: Mapping[str, Tensor] = field(default_factory=dict)
    copies: CopyStatistics | None = None

    @property
    def logits(self) -> Float[Tensor, "_ classes"]:
        """Class scores of the generated images."""
        assert self.features.logits is not None
        return self.features.logits

    @property
    def network(self) -> Extractor:
        """The extractor of metrics that need features."""
        assert self.extractor is not None
        return self.extractor

    @property
    def fewest(self) -> int:
        """The number of images in the smaller of the two sets."""
        return min(self.num_generated, self.num_reference)


@dataclass(frozen=True)
class LikelihoodInputs:
    """Likelihood estimates of images in nats.

    Attributes:
        elbo: the evidence lower bound of each image; log p(x) for a model without latents.
        log_p: log p(x) of each image, or a lower bound.
        dimensions: the number of values of an image.
        latents: importance samples per image; None for a model without latents.
        relaxed: whether grey values were scored under a Bernoulli likelihood.
    """

    elbo: Float64[Tensor, " images"]
    log_p: Float64[Tensor, " images"]
    dimensions: int
    latents: int | None = None
    relaxed: bool = False


class LatentBatch(NamedTuple):
    """What a probe evaluates a generator at.

    Attributes:
        model: the generator, in eval mode.
        seed: seed of the samples.
        indices: indices of the samples; whatever a probe draws for sample i is a function of (seed, i).
        labels: the class of each sample of a class-conditional model; None otherwise.
    """

    model: Any
    seed: int
    indices: range
    labels: Labels | None = None

    @property
    def num_classes(self) -> int:
        """The number of last entries of a latent that are a one-hot class."""
        return 0 if self.labels is None else self.model.num_classes

    def with_class(self, latents: Latents) -> Latents:
        """Replace the class in latents by that of the samples; without classes, return the latents."""
        if self.labels is None:
            return latents
        classes = nn.functional.one_hot(self.labels, self.num_classes).to(latents)
        return torch.cat([latents[..., : -self.num_classes], classes], -1)


@runtime_checkable
class GeneratorProbe(Protocol):
    """Evaluates a generator itself, where images at given latents are not enough: path lengths, equivariance."""

    def check(self, model: object) -> None:
        """Check before any work is done that the probe is defined for a model.

        Args:
            model: any model that generates images.

        Raises:
            InputError: when the model lacks a capability.
        """
        ...

    def note(self, distance: ImageDistance) -> str:
        """A note for the score card; ``distance`` is that of ``__call__``."""
        ...

    def __call__(self, batch: LatentBatch, distance: ImageDistance) -> Float64[Tensor, "batch ..."]:
        """Evaluate the generator, without a graph.

        Args:
            batch: the generator and the indices of the samples.
            distance: a distance of images; probes of metrics that do not need one ignore it.

        Returns:
            One row per sample, on the CPU. The metric's ``compute`` finds the rows of all samples in
            ``FeatureInputs.per_image``, under the metric's name.
        """
        ...


@dataclass(frozen=True)
class Metric(Generic[Inputs]):
    """One metric.

    Attributes:
        name: the name by which it is requested.
        needs: what it is computed from.
        scores: key of each score, and which direction is better.
        compute: computes the scores.
        min_images: the metric is undefined for fewer generated (and, where it needs them, reference) images.
        weakness: returns why the scores are weak, or None.
        per_image: values of each image, for a metric that is a mean over images. Its arguments are logits and labels
            for a metric that needs ``labels`` or ``input_labels``, and pairs of uint8 images for one that needs
            ``reconstructions``, ``targets``, ``cropped_targets`` or ``reduced``.
        min_side: smallest height and width of images that ``per_image`` accepts.
        band_draws: bootstrap draws of the metric's reference band (``band.py``); 0 for a metric without one.
        probe: computes values of each sample from the generator, for a metric that needs ``generator``.
    """

    name: str
    needs: frozenset[Need]
    scores: Mapping[str, Direction]
    compute: Callable[[Inputs], Scores]
    min_images: int = 1
    weakness: Callable[[Inputs], str | None] = lambda inputs: None
    per_image: Callable[[Tensor, Tensor], Tensor] | None = None
    min_side: int = 1
    band_draws: int = 0
    probe: GeneratorProbe | None = None

    @property
    def automatic(self) -> bool:
        """Whether it cannot be requested, and is computed wherever its needs are met."""
        return self.per_image is not None

    @property
    def uses_reference(self) -> bool:
        """Whether it compares the generated images with the reference."""
        return bool(self.needs & {"features", "statistics"})


def mean_and_error(name: str, values: Float64[Tensor, " images"]) -> Scores:
    """The mean of values and its standard error, ``<name>_sem``, which a single value does not have."""
    mean = {name: values.mean().item()}
    return mean | ({f"{name}_sem": (values.std() / math.sqrt(len(values))).item()} if len(values) > 1 else {})
