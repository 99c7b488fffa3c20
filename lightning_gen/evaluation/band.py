"""The reference band: what real images score under the protocol that generated images are scored by.

A perfect sampler of finitely many images does not have an FID of 0, nor a recall of 1. The band is the mean and the
standard deviation of the score of real images, drawn from the reference as a sampler draws: as many, with replacement,
and with random classes (of an unconditional model) or with permuted classes of the reference (of a conditional one). It
is the bootstrap distribution of the score (Efron 1979, https://doi.org/10.1214/aos/1176344552). The score of held-out
images beside it also contains the difference between the splits, but it is a single value at its own number of images.

An FID within two standard deviations of the band does not differ from that of real images. Drawn images are among the
reference, so their precision is 1; compare a precision with that of held-out images. KID is unbiased, so that a perfect
sampler's is 0 in expectation: it has no band.
"""

from collections.abc import Mapping, Sequence
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

WIDE_FEATURES = 256
"""Features wider than this are expensive: their bands have ``WIDE_DRAWS`` draws, and training computes none."""
WIDE_DRAWS = 20
NUM_DEVIATIONS = 2.0
"""Scores nearer than this many standard deviations are not distinguished."""
BIAS_SHARE = 0.1
"""A score of which the band's mean is more than this share is flagged as biased."""

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
        key = [name, real.reference.key, extractor.name, extractor.weights_hash, str(num), str(metric_draws)]
        key += [held_out.key if held_out else "", labels_key(real.reference) if real.by_class else ""]
        values = cached(
            cache_path("bands", *key),
            lambda: compute_band(metric, extractor, real, num, metric_draws),  # noqa: B023
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


def compare_with_bands(scores: Mapping[str, float], bands: Mapping[str, Band], num: int) -> dict[str, str]:
    """Whether the FID is weak at this number of images.

    An FID below the band's mean plus ``NUM_DEVIATIONS`` standard deviations does not differ from that of real images.
    Of a larger one, the band's mean is the bias.

    Args:
        scores: the scores.
        bands: the bands by score.
        num: the number of generated images.

    Returns:
        The reason by metric; empty where there is none.
    """
    if "fid" not in scores or "fid" not in bands:
        return {}
    score, band = scores["fid"], bands["fid"]
    real = f"{num:,} real images score {band.mean:.3g} ± {band.std:.2g}"
    if score <= band.mean + NUM_DEVIATIONS * band.std:
        return {"fid": f"{real}: no difference from them can be told"}
    return {"fid": f"{real}: this is the bias"} if band.mean > BIAS_SHARE * score else {}
