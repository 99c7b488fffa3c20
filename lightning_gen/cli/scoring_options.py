"""The options of ``evaluate``, and the extractor that they choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning_gen.checks import check_at_least
from lightning_gen.cli.truncating import NO_TRUNCATION, TruncationOptions
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation import (
    AUTO,
    FEATURE_METRICS,
    GENERATOR_METRICS,
    LIKELIHOOD_METRICS,
    NO_EXTRACTOR,
    PAIR_METRICS,
    Extractor,
    Lpips,
    LpipsDistance,
    choose_extractor,
    classifier_splits,
    make_extractor,
    needs_of,
)
from lightning_gen.types import ImageSet, ImageSource, PairSource, SamplingOptions

Split = Literal["train", "val", "test"]
DEFAULT_METRICS = ("fid",)
REQUESTABLE = FEATURE_METRICS + GENERATOR_METRICS + PAIR_METRICS + LIKELIHOOD_METRICS
"""The names of all metrics."""


@dataclass(frozen=True)
class ScoringOptions:
    """The options of ``evaluate`` that apply to checkpoints and to folders.

    Attributes:
        requested: the requested metrics; None: ``DEFAULT_METRICS``, where they are defined.
        features: name of the extractor, or ``auto``.
        batch_size: the number of images per batch.
        inception_weights: file of Inception's weights.
        lpips_weights: file of AlexNet's weights, for ``lpips`` and path lengths.
        device: device of this process.
        band_draws: bootstrap draws of the reference band; None for the default.
    """

    requested: tuple[str, ...] | None
    features: str
    batch_size: int
    inception_weights: Path | None
    lpips_weights: Path | None
    device: str
    band_draws: int | None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The requested metrics, or the default."""
        return DEFAULT_METRICS if self.requested is None else self.requested

    @property
    def image_metrics(self) -> tuple[str, ...]:
        """The requested metrics of generated images: all but the likelihoods."""
        return tuple(metric for metric in self.metrics if metric not in LIKELIHOOD_METRICS)

    @property
    def likelihoods(self) -> tuple[str, ...]:
        """The requested likelihoods."""
        return tuple(metric for metric in self.metrics if metric in LIKELIHOOD_METRICS)

    def lpips(self) -> Lpips | None:
        """The network of ``lpips``; None if it is not requested, and an InputError without its weights."""
        return Lpips(self.lpips_weights, self.device) if "lpips" in self.metrics else None

    def path_distance(self) -> LpipsDistance | None:
        """The distance of path lengths: LPIPS, if its weights are named; None: that of the extractor's features."""
        is_needed = self.lpips_weights is not None and "distance" in needs_of(self.metrics)
        return LpipsDistance(Lpips(self.lpips_weights, self.device)) if is_needed else None

    def extractor(self, data: ImageData | None) -> Extractor:
        """Create the extractor; ``classifier`` is trained on ``data``. InputError where ``auto`` finds none."""
        extractor = self.find_extractor(data, data)
        if extractor is None:
            raise InputError(NO_EXTRACTOR)
        return extractor

    def extractor_of_pairs(
        self, data: ImageData | None, back: bool = False
    ) -> tuple[Extractor | None, tuple[str, ...]]:
        """The extractor and the metrics for images that are scored by pairs as well, which need no extractor.

        Args:
            data: the data that ``classifier`` is trained on; None: it has none.
            back: whether the images are like the inputs of the data, and not like its images.

        Returns:
            The extractor, and the metrics; without an extractor and a request, there are no metrics of features.

        Raises:
            InputError: where metrics of features are requested and ``auto`` finds no extractor.
        """
        source: ImageSource | None = InputImages(data) if back and isinstance(data, PairSource) else data
        extractor = self.find_extractor(data, source)
        of_features = [name for name in self.image_metrics if name not in PAIR_METRICS]
        if extractor is None and of_features and self.requested is not None:
            raise InputError(NO_EXTRACTOR)
        if extractor is None or (not of_features and not extractor.own_classes):
            return None, tuple(name for name in self.image_metrics if name in PAIR_METRICS)
        return extractor, self.image_metrics

    def find_extractor(self, data: ImageData | None, source: ImageSource | None) -> Extractor | None:
        """Create the extractor.

        Args:
            data: the dataset; None for images that belong to none.
            source: the images that ``classifier`` is trained on.

        Returns:
            The extractor; None where ``auto`` finds none.
        """
        name: str | None = self.features
        if name == AUTO:
            train = source.image_set("train") if source is not None and data is not None and data.num_classes else None
            name = choose_extractor(train, self.inception_weights)
        if name is None:
            return None
        return make_extractor(
            name,
            labelled=classifier_splits(source) if source is not None and name == "classifier" else None,
            inception_weights=self.inception_weights,
            device=self.device,
        )


@dataclass(frozen=True)
class ModelOptions:
    """The options of ``evaluate`` that apply to checkpoints, described there.

    Attributes:
        reference: folder or zip of real images; None for the checkpoint's dataset.
        num_samples: the number of images to generate.
        split: split of the dataset; None: that of what is scored.
        seed: seed of the samples.
        draws: the number of sample seeds.
        raw: whether to score the trained weights.
        importance_samples: random draws per image of a likelihood.
        reconstructions: whether to score reconstructions.
        back: whether to score translations to the domain of the inputs.
        root: folder of the dataset, if it has moved.
        sampling: options of models that sample iteratively.
        truncation: options of style-based generators.
    """

    reference: Path | None
    num_samples: int | None
    split: Split | None
    seed: int
    draws: int
    raw: bool
    importance_samples: int | None
    reconstructions: bool
    back: bool
    root: str | None
    sampling: SamplingOptions
    truncation: TruncationOptions = NO_TRUNCATION


def check_scoring(
    metrics: Sequence[str] | None,
    *,
    seed: int,
    draws: int,
    band_draws: int | None,
    num_samples: int | None,
    batch_size: int,
    importance_samples: int | None,
) -> None:
    """Check the numbers of a scoring, and that some metric is requested.

    Args:
        metrics: names of metrics; None for the default.
        seed: at least 0.
        draws: at least 1.
        band_draws: 0, or at least 2.
        num_samples: at least 1.
        batch_size: at least 1.
        importance_samples: at least 1.

    Raises:
        InputError: if a value is out of range; it names the option of the command line.
    """
    check_at_least(0, prefix="--", seed=seed, band_draws=band_draws)
    check_at_least(
        1,
        prefix="--",
        num_samples=num_samples,
        draws=draws,
        batch_size=batch_size,
        importance_samples=importance_samples,
    )
    if band_draws == 1:
        raise InputError("--band_draws is 1, and one draw has no standard deviation; set 0 for none, or 2 or more")
    if metrics is not None and not metrics:
        raise InputError(f"--metrics is empty; choose from {', '.join(REQUESTABLE)}")


class InputImages:
    """The inputs of a data module as an image source.

    Args:
        source: the data module.
    """

    def __init__(self, source: PairSource) -> None:
        self.source = source

    def image_set(self, split: str) -> ImageSet:
        """The inputs of a split; an :class:`InputError` for data without inputs."""
        pairs = self.source.pair_set(split)
        if pairs is None:
            raise InputError("the data has no inputs; set data.inputs")
        return pairs.inputs
