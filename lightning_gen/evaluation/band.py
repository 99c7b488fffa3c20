"""The reference band: what a resample of the reference images scores under the protocol of generated images.

Even a sampler of the data's own distribution does not have an FID of 0 for finitely many images. The band is the mean
and the standard deviation of the score of real images, drawn from the reference as a sampler draws: as many, with
replacement, and with random classes (of an unconditional model) or with permuted classes of the reference (of a
conditional one). It is the bootstrap distribution of the score (Efron 1979, https://doi.org/10.1214/aos/1176344552).

Resampled images are among the reference. New images of the same distribution differ from the reference by its own
sampling error, too. To first order in 1 / N their FID is

    E FID(N new images) = (1 + N / n) E FID(N resampled images)

with n the number of reference images, and an FID below (1 + N / n) (mean + 2 standard deviations) does not differ
significantly from that of real images. The precision of resampled images is 1 and their recall is higher than that of
new images: compare both with the held-out images, whose score is a single value at its own number of images. KID is
unbiased, 0 in expectation for new images, and has no band.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_gen.evaluation.array_cache import Arrays, cache_path, cached
from lightning_gen.evaluation.extractor import Extractor, Features
from lightning_gen.evaluation.metric_record import FeatureInputs, Metric, Reference, Scores
from lightning_gen.evaluation.metrics import METRICS
from lightning_gen.noise import mix_seed
from lightning_gen.types import ImageSet

RECIPE = "1"
"""Version of everything in this file that a band depends on; part of the cache key."""
WIDE_FEATURES = 256
"""Features wider than this are expensive, and training computes no band of them."""
WIDE_DRAWS = 20
"""Maximum number of draws for features wider than ``WIDE_FEATURES``."""
NUM_DEVIATIONS = 2.0
"""The width of the range in which scores are not distinguished from those of real images, in standard deviations."""
BIAS_SHARE = 0.1
"""A score of which that of new real images would be more than this share is reported as biased."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Band:
    """What real images score.

    Attributes:
        mean: mean of the score over bootstrap draws of the reference.
        std: its standard deviation.
        draws: the number of draws.
        held_out: score of held-out images against the reference; None where there are none.
        held_out_images: the number of held-out images.
    """

    mean: float
    std: float
    draws: int
    held_out: float | None = None
    held_out_images: int = 0


@dataclass(frozen=True)
class RealImages:
    """The real images that a band is computed from.

    Attributes:
        reference: the reference images.
        features: their features.
        held_out: held-out images; None where there are none.
        held_out_features: their features; empty where there are none.
        by_class: whether draws have the classes of the reference, as the samples of a conditional model do.
    """

    reference: ImageSet
    features: Reference
    held_out: ImageSet | None
    held_out_features: Tensor
    by_class: bool


def has_band(metric: str) -> bool:
    """Whether a metric has a reference band: whether it compares features with those of the reference."""
    return METRICS[metric].band_draws > 0


def default_draws(metric: Metric[FeatureInputs], extractor: Extractor) -> int:
    """The number of bootstrap draws of a metric, fewer for wide features."""
    return min(metric.band_draws, WIDE_DRAWS) if extractor.width > WIDE_FEATURES else metric.band_draws


def reference_bands(
    metrics: Sequence[str], extractor: Extractor, real: RealImages, num: int, draws: int | None = None
) -> dict[str, Band]:
    """Compute the bands of ``num`` images, or read them from the cache.

    Args:
        metrics: names of metrics; those without a band are ignored.
        extractor: the extractor that computed the features.
        real: the real images and their features.
        num: the number of images per draw.
        draws: the number of bootstrap draws; None: the metric's default.

    Returns:
        The band of each score with a better direction, by its name.
    """
    bands: dict[str, Band] = {}
    for name in filter(has_band, metrics):
        metric = METRICS[name]
        metric_draws = default_draws(metric, extractor) if draws is None else draws
        held_out = None if real.held_out is None or len(real.held_out) < metric.min_images else real.held_out
        key = [RECIPE, name, real.reference.key, extractor.name, extractor.weights_hash, str(num), str(metric_draws)]
        key += [held_out.key if held_out else "", labels_key(real.reference) if real.by_class else ""]
        values = cached(
            cache_path("bands", *key),
            lambda: compute_band(metric, extractor, real, num, metric_draws),  # noqa: B023
            lambda arrays: is_band(arrays, metric.scores, metric_draws),  # noqa: B023
        )
        for score, direction in metric.scores.items():
            if direction is None:
                continue
            drawn = values[score]
            held_out_score = values.get(f"held_out/{score}")
            bands[score] = Band(
                float(drawn.mean()),
                float(drawn.std(ddof=1)) if len(drawn) > 1 else 0.0,
                len(drawn),
                None if held_out_score is None else float(held_out_score),
                0 if held_out_score is None else int(values["held_out_images"]),
            )
    return bands


def is_band(arrays: Arrays, scores: Iterable[str], draws: int) -> bool:
    """Whether arrays from the cache are the result of :func:`compute_band` for scores, and a number of draws."""
    shapes = {name: array.shape for name, array in arrays.items()}
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(scores, (draws,))
    held_out = dict.fromkeys([*(f"held_out/{name}" for name in expected), "held_out_images"], ())
    return shapes in (expected, expected | held_out) and all(
        np.issubdtype(array.dtype, np.number) for array in arrays.values()
    )


def compute_band(metric: Metric[FeatureInputs], extractor: Extractor, real: RealImages, num: int, draws: int) -> Arrays:
    """Score bootstrap draws of the reference, and up to ``num`` held-out images.

    Args:
        metric: the metric.
        extractor: the extractor that computed the features.
        real: the real images and their features.
        num: the number of images per draw.
        draws: the number of draws.

    Returns:
        The values of each score, by its name; the scores of the held-out images under ``held_out/<name>``.
    """

    def score(vectors: Tensor) -> Scores:
        inputs = FeatureInputs(extractor, Features(vectors), real.features, len(vectors), len(real.reference))
        return metric.compute(inputs)

    labels = np.asarray(real.reference.labels) if real.by_class else None
    indices = [
        bootstrap_indices(len(real.reference), labels, num, mix_seed("reference band", draw)) for draw in range(draws)
    ]
    scores = [score(real.features.vectors[torch.from_numpy(drawn)]) for drawn in indices]
    values: dict[str, npt.NDArray[np.generic]] = {
        name: np.asarray([drawn[name] for drawn in scores]) for name in metric.scores
    }
    if len(real.held_out_features) >= metric.min_images:
        chosen = permuted_indices(
            len(real.held_out_features), min(num, len(real.held_out_features)), mix_seed("held out")
        )
        values |= {
            f"held_out/{name}": np.asarray(value)
            for name, value in score(real.held_out_features[torch.from_numpy(np.sort(chosen))]).items()
        }
        values["held_out_images"] = np.asarray(len(chosen))
    return values


def bootstrap_indices(size: int, labels: npt.NDArray[np.int64] | None, num: int, seed: int) -> Indices:
    """Draw ``num`` indices below ``size`` with replacement.

    Args:
        size: the number of reference images.
        labels: their classes, where the draw is to have permuted classes of the reference; None for random classes.
        num: the number of indices.
        seed: seed of the draw.

    Returns:
        The indices.
    """
    random = np.random.default_rng(seed)
    if labels is None:
        return random.integers(size, size=num)
    classes = labels[permuted_indices(size, num, mix_seed(seed, "labels"))]
    drawn = np.empty(num, dtype=np.int64)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        drawn[rows] = random.choice(np.flatnonzero(labels == label), len(rows))
    return drawn


def permuted_indices(size: int, num: int, seed: int) -> Indices:
    """``num`` indices below ``size``: whole random permutations, and a part of another one."""
    random = np.random.default_rng(seed)
    return np.concatenate([random.permutation(size) for _ in range(-(-num // size))])[:num]


def labels_key(images: ImageSet) -> str:
    """Hash of the labels of an image set."""
    return sha256(np.asarray(images.labels).tobytes()).hexdigest()


def compare_with_bands(scores: Mapping[str, float], bands: Mapping[str, Band], num: int, size: int) -> dict[str, str]:
    """State where the FID is not distinguishable from that of real images, or is largely bias.

    Args:
        scores: the scores.
        bands: the bands by score.
        num: the number of generated images.
        size: the number of reference images.

    Returns:
        The statement by metric; empty where there is none.
    """
    if "fid" not in scores or "fid" not in bands:
        return {}
    score, band, factor = scores["fid"], bands["fid"], 1 + num / size
    new = f"{num:,} new real images score about {factor * band.mean:.2g} ± {factor * band.std:.1g}"
    if score <= factor * (band.mean + NUM_DEVIATIONS * band.std):
        return {"fid": f"not distinguishable from real images: {new}"}
    return {"fid": f"biased: {new}"} if factor * band.mean > BIAS_SHARE * score else {}
