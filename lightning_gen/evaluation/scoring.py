"""Scores a model's samples, its reconstructions, or a set of images against a set of real images.

In a distributed run every rank calls these functions. Images are generated and features extracted in shares of the
ranks, scores are computed on rank 0, and every rank gets the same score card. The scores depend neither on the batch
size nor on the number of ranks. The model's mode and torch's global random state are unchanged.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from lightning_gen.distributed import scoring_group
from lightning_gen.evaluation.band import permuted_indices
from lightning_gen.evaluation.card import ScoreCard
from lightning_gen.evaluation.comparison import BandOptions, Comparison, make_card, make_copy_reference
from lightning_gen.evaluation.distance import FeatureDistance, ImageDistance
from lightning_gen.evaluation.extraction import (
    ScoredBatch,
    batches_of,
    compare_pairs,
    extract,
    own_labels,
    pair_metrics,
    probe_generator,
    to_stored,
)
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.evaluation.facts import describe_sampling, model_facts, precision
from lightning_gen.evaluation.lpips import Lpips
from lightning_gen.evaluation.metric_checks import check_metrics
from lightning_gen.evaluation.metric_record import LatentBatch
from lightning_gen.evaluation.pairs import PairScores, check_pair_metrics, differ_in_size, smallest_side
from lightning_gen.images import to_float
from lightning_gen.inference import isolated_inference, model_device
from lightning_gen.noise import image_generators, mix_seed, randn
from lightning_gen.types import (
    ImageGenerator,
    Images,
    ImageSet,
    ImageShape,
    IterativeGenerator,
    Labels,
    PairSet,
    RandomSource,
    Reconstructor,
)

MAX_SAMPLES = 10_000
"""Upper limit of the default number of samples."""


def score_samples(
    model: ImageGenerator,
    reference: ImageSet,
    extractor: Extractor,
    *,
    metrics: Sequence[str] = ("fid",),
    num_samples: int | None = None,
    batch_size: int = 100,
    seed: int = 0,
    split: str | None = None,
    weights: Literal["ema", "raw"] | None = None,
    held_out: ImageSet | None = None,
    training: ImageSet | None = None,
    band_draws: int | None = None,
    distance: ImageDistance | None = None,
) -> ScoreCard:
    """Generate images with a model and score them.

    Image i depends on (seed, i) alone. The classes of a class-conditional model (``num_classes`` above 0) are
    permutations of those of the reference (:func:`sample_labels`). With an extractor that
    knows the dataset's classes, the card then has ``class_accuracy``, the share of images that it assigns to the
    requested class.

    Args:
        model: the model.
        reference: the real images.
        extractor: the extractor whose features are compared.
        metrics: names out of ``FEATURE_METRICS`` and ``GENERATOR_METRICS``.
        num_samples: default: the size of the reference, at most 10,000.
        batch_size: the number of images generated at once.
        seed: seed of the samples.
        split: the reference's split in the protocol's name; default: the last part of the reference's name.
        weights: whether the model samples with averaged or raw weights, for the card; default: determined from the
            model's ``ema`` and ``use_ema``.
        held_out: real images beside the reference that the model was not trained on: for ``copies``, and for the band.
        training: the images that the model was trained on; default: the reference.
        band_draws: bootstrap draws of the reference band (see ``band.py``); 0 for no band; default: the metric's.
        distance: the distance of images of path lengths; default: that of the extractor's features.

    Returns:
        The score card, on every rank.

    Raises:
        InputError: when a metric is unknown or undefined for the model or this number of images, or the extractor does
            not accept their shape.
    """
    num = min(len(reference), MAX_SAMPLES) if num_samples is None else num_samples
    copy_reference = make_copy_reference(reference, training, held_out)
    check_metrics(metrics, extractor, num, len(reference), copy_reference, model, distance)
    distance = distance or FeatureDistance(extractor)
    device = model_device(model)
    labels = sample_labels(model, reference, num, seed)

    def load(indices: range) -> ScoredBatch:
        chosen = None if labels is None else labels[list(indices)].to(device)
        generators = image_generators(seed, indices)
        images, finite = to_stored(model.sample(len(indices), labels=chosen, generator=generators))
        probed = probe_generator(metrics, LatentBatch(model, seed, indices, chosen), distance)
        return ScoredBatch(
            images, {"finite": finite, **probed}, {} if chosen is None else own_labels(extractor, chosen)
        )

    facts = model_facts(model, weights) | {
        "subject": "samples",
        "num_generated": num,
        "seed": seed,
        "drawn": describe_sampling(model.sampling) if isinstance(model, IterativeGenerator) else None,
        "labels": None if labels is None else "uniform" if reference.labels is None else "permuted reference labels",
    }
    band = BandOptions(labels is not None and reference.labels is not None, band_draws)
    real = Comparison(reference, extractor, metrics, batch_size, split, copy_reference, band, distance)
    with scoring_group() as group:
        with isolated_inference(model, mix_seed(seed, "score", group.rank)):
            generated = extract(load, num, extractor, batch_size, group, metrics)
        return make_card(generated, real, group, facts)


def score_reconstructions(
    model: Reconstructor,
    images: ImageSet,
    extractor: Extractor,
    *,
    metrics: Sequence[str] = ("fid",),
    num_samples: int | None = None,
    batch_size: int = 100,
    seed: int = 0,
    split: str | None = None,
    weights: Literal["ema", "raw"] | None = None,
) -> ScoreCard:
    """Score a model's reconstructions of images against these images.

    The card also has ``mse``, ``psnr`` and, for images with sides of at least 6, ``ssim``, see
    :mod:`lightning_gen.losses.image_quality`. MSE and SSIM are means over images, PSNR is that of the mean MSE.

    Args:
        model: the model.
        images: the real images.
        extractor: the extractor whose features are compared.
        metrics: names out of ``FEATURE_METRICS``.
        num_samples: the number of images to reconstruct, from the first on; default: all.
        batch_size: the number of images reconstructed at once.
        seed: seed of torch's global generators.
        split: the split in the protocol's name; default: the last part of the image set's name.
        weights: whether the model uses averaged or raw weights, for the card; default: determined from the model.

    Returns:
        The score card, on every rank.

    Raises:
        InputError: when a metric is unknown or undefined for this number of images, or the extractor does not accept
            their shape.
    """
    num = len(images) if num_samples is None else min(num_samples, len(images))
    check_metrics(metrics, extractor, num, len(images))
    device = model_device(model)

    def load(indices: range) -> ScoredBatch:
        index = np.asarray(indices, dtype=np.int64)
        real = images[index]
        labels = None if images.labels is None else torch.from_numpy(images.labels[index]).to(device)
        again, finite = to_stored(model.reconstruct(to_float(real.to(device)), labels=labels))
        defined = pair_metrics("reconstructions", min(real.shape[2:]))
        return ScoredBatch(again, {"finite": finite, **compare_pairs(defined, again.cpu(), real)})

    facts = model_facts(model, weights) | {"subject": "reconstructions", "num_generated": num}
    with scoring_group() as group:
        with isolated_inference(model, mix_seed(seed, "score", group.rank)):
            generated = extract(load, num, extractor, batch_size, group, metrics)
        return make_card(generated, Comparison(images, extractor, metrics, batch_size, split), group, facts)


def score_images(
    generated: ImageSet,
    reference: ImageSet,
    extractor: Extractor | None,
    *,
    metrics: Sequence[str] = ("fid",),
    batch_size: int = 100,
    split: str | None = None,
    held_out: ImageSet | None = None,
    training: ImageSet | None = None,
    band_draws: int | None = None,
    partners: Sequence[int] | None = None,
    border: int | None = None,
    lpips: Lpips | None = None,
) -> ScoreCard:
    """Score a set of images, such as a folder.

    With ``partners``, each image is also compared with its own target: ``psnr`` and ``ssim``, with a ``border``
    also ``psnr_y`` and ``ssim_y``, means over the images. A grey image is compared with an RGB image as R = G = B.
    Images of unequal size are compared one at a time, and have no feature metrics.

    Args:
        generated: the images to score.
        reference: the real images.
        extractor: the extractor whose features are compared; None if no metric needs features.
        metrics: names out of ``FEATURE_METRICS``, and with ``partners`` also out of ``PAIR_METRICS``; may be empty with
            ``partners``.
        batch_size: the number of images per batch.
        split: name of the reference in the protocol's name; default: the last part of the reference's name.
        held_out: real images beside the reference that the model was not trained on: for ``copies``, and for the band.
        training: the images that the model was trained on; default: the reference.
        band_draws: bootstrap draws of the reference band (see ``band.py``); 0 for no band; default: the metric's.
        partners: index of each image's target in the reference; None: the images have no targets.
        border: pixels at each side that ``psnr_y`` and ``ssim_y`` leave out; None: these two are not computed.
        lpips: the network of the metric ``lpips``.

    Returns:
        The score card, on every rank.

    Raises:
        InputError: when a metric is unknown or undefined for these images, partners differ in size, or the extractor
            does not accept the images' shape.
    """
    copy_reference = make_copy_reference(reference, training, held_out)
    is_unequal = differ_in_size(PairSet(generated, reference, partners is not None))
    extractor, batch_size = (None, 1) if is_unequal else (extractor, batch_size)
    if partners is None:
        check_metrics(metrics, extractor, len(generated), len(reference), copy_reference)
    else:
        check_pair_metrics(metrics, extractor, len(generated), len(reference), lpips, copy_reference)
    facts = {
        "subject": "folder",
        "generated": generated.name,
        "num_generated": len(generated),
        "precision": precision(extractor),
    }
    load, notes = batches_of(generated), []
    if partners is not None:
        pairs = PairScores(smallest_side(reference), border, lpips if "lpips" in metrics else None)
        load, notes = pairs.batches_of(generated, reference, partners), pairs.notes()
    real = Comparison(reference, extractor, metrics, batch_size, split, copy_reference, BandOptions(draws=band_draws))
    with scoring_group() as group:
        extracted = extract(load, len(generated), extractor, batch_size, group, metrics)
        return make_card(extracted, real, group, facts, notes)


class UniformNoise:
    """A baseline that generates pixels uniform in [-1, 1]; its score is the upper bound of a protocol.

    Args:
        image_shape: (channels, height, width).
        num_classes: the number of classes of a conditional baseline, which affects the reference band alone.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int = 0) -> None:
        self.image_shape = image_shape
        self.num_classes = num_classes

    def sample(self, num: int, *, labels: Labels | None = None, generator: RandomSource = None) -> Images:
        """Generate ``num`` images; ``labels`` have no effect."""
        return torch.erf(randn(num, *self.image_shape, generator=generator) / math.sqrt(2))


def sample_labels(model: ImageGenerator, reference: ImageSet, num: int, seed: int) -> Labels | None:
    """Draw ``num`` classes for a class-conditional model from those of the reference, as a function of the seed.

    The classes are those of random permutations of the reference, the last one cut short. Where ``num`` is a multiple
    of the reference's size, the samples have exactly the reference's shares of the classes.

    Args:
        model: class-conditional if its ``num_classes`` is above 0.
        reference: the images whose classes are drawn; if it has none, all classes are drawn equally often, up to one.
        num: the number of classes to draw.
        seed: seed of the samples.

    Returns:
        Class of each image on the CPU, or None for an unconditional model.
    """
    classes = getattr(model, "num_classes", 0) or 0
    if classes < 1:
        return None
    labels = np.arange(classes) if reference.labels is None else np.asarray(reference.labels)
    return torch.from_numpy(labels[permuted_indices(len(labels), num, mix_seed(seed, "labels"))])
