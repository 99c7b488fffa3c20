"""Scores a model's samples, its reconstructions, or a set of images against a set of real images.

In a distributed run every rank calls these functions. Images are generated and features extracted in shares of the
ranks, scores are computed on rank 0, and every rank gets the same score card. The scores depend neither on the batch
size nor on the number of ranks. The model's mode and torch's global random state are unchanged.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from lightning_gen.distributed import ScoringGroup, scoring_group
from lightning_gen.evaluation.band import (
    Band,
    RealImages,
    compare_with_bands,
    has_band,
    permuted_indices,
    reference_bands,
)
from lightning_gen.evaluation.card import ScoreCard, protocol_name
from lightning_gen.evaluation.copies import CopyReference
from lightning_gen.evaluation.extraction import (
    Extracted,
    ScoredBatch,
    batches_of,
    compare_copies,
    extract,
    extract_copy_features,
    extract_reference,
)
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.evaluation.facts import describe_sampling, model_facts, precision, split_name
from lightning_gen.evaluation.metric_record import FeatureInputs
from lightning_gen.evaluation.metrics import automatic_metrics, check_metrics, compute_scores, find_weaknesses
from lightning_gen.images import to_float, to_uint8
from lightning_gen.inference import isolated_inference, model_device
from lightning_gen.noise import image_generators, mix_seed, randn
from lightning_gen.types import (
    ImageGenerator,
    Images,
    ImageSet,
    ImageShape,
    IterativeGenerator,
    Labels,
    RandomSource,
    Reconstructor,
    StoredImages,
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
        metrics: names out of ``FEATURE_METRICS``.
        num_samples: default: the size of the reference, at most 10,000.
        batch_size: the number of images generated at once.
        seed: seed of the samples.
        split: the reference's split in the protocol's name; default: the last part of the reference's name.
        weights: whether the model samples with averaged or raw weights, for the card; default: determined from the
            model's ``ema`` and ``use_ema``.
        held_out: real images beside the reference that the model was not trained on: for ``copies``, and for the band.
        training: the images that the model was trained on; default: the reference.
        band_draws: bootstrap draws of the reference band (see ``band.py``); 0 for no band; default: the metric's.

    Returns:
        The score card, on every rank.

    Raises:
        InputError: when a metric is unknown or undefined for this number of images, or the extractor does not accept
            their shape.
    """
    num = min(len(reference), MAX_SAMPLES) if num_samples is None else num_samples
    copy_reference = make_copy_reference(reference, training, held_out)
    check_metrics(metrics, extractor, num, len(reference), copy_reference)
    device = model_device(model)
    labels = sample_labels(model, reference, num, seed)

    def load(indices: range) -> ScoredBatch:
        chosen = None if labels is None else labels[list(indices)].to(device)
        generators = image_generators(seed, indices)
        images, finite = to_stored(model.sample(len(indices), labels=chosen, generator=generators))
        return ScoredBatch(images, {"finite": finite}, chosen if extractor.own_classes else None)

    facts = model_facts(model, weights) | {
        "subject": "samples",
        "num_generated": num,
        "seed": seed,
        "drawn": describe_sampling(model.sampling) if isinstance(model, IterativeGenerator) else None,
        "labels": None if labels is None else "uniform" if reference.labels is None else "permuted reference labels",
    }
    band = BandOptions(labels is not None and reference.labels is not None, band_draws)
    with scoring_group() as group:
        with isolated_inference(model, mix_seed(seed, "score", group.rank)):
            generated = extract(load, num, extractor, batch_size, group, metrics)
        return make_card(
            generated, reference, extractor, metrics, batch_size, group, split, facts, copy_reference, band
        )


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
        values = {"finite": finite}
        for metric in automatic_metrics("reconstructions"):
            assert metric.per_image is not None
            if min(real.shape[2:]) >= metric.min_side:
                values[metric.name] = metric.per_image(again.cpu(), real)
        return ScoredBatch(again, values)

    facts = model_facts(model, weights) | {"subject": "reconstructions", "num_generated": num}
    with scoring_group() as group:
        with isolated_inference(model, mix_seed(seed, "score", group.rank)):
            generated = extract(load, num, extractor, batch_size, group, metrics)
        return make_card(generated, images, extractor, metrics, batch_size, group, split, facts)


def score_images(
    generated: ImageSet,
    reference: ImageSet,
    extractor: Extractor,
    *,
    metrics: Sequence[str] = ("fid",),
    batch_size: int = 100,
    split: str | None = None,
    held_out: ImageSet | None = None,
    training: ImageSet | None = None,
    band_draws: int | None = None,
) -> ScoreCard:
    """Score a set of images, such as a folder.

    Args:
        generated: the images to score.
        reference: the real images.
        extractor: the extractor whose features are compared.
        metrics: names out of ``FEATURE_METRICS``.
        batch_size: the number of images per batch.
        split: name of the reference in the protocol's name; default: the last part of the reference's name.
        held_out: real images beside the reference that the model was not trained on: for ``copies``, and for the band.
        training: the images that the model was trained on; default: the reference.
        band_draws: bootstrap draws of the reference band (see ``band.py``); 0 for no band; default: the metric's.

    Returns:
        The score card, on every rank.

    Raises:
        InputError: when a metric is unknown or undefined for this number of images, or the extractor does not accept
            their shape.
    """
    copy_reference = make_copy_reference(reference, training, held_out)
    check_metrics(metrics, extractor, len(generated), len(reference), copy_reference)
    facts = {
        "subject": "folder",
        "generated": generated.name,
        "num_generated": len(generated),
        "precision": precision(extractor),
    }
    with scoring_group() as group:
        extracted = extract(batches_of(generated), len(generated), extractor, batch_size, group, metrics)
        return make_card(
            extracted,
            reference,
            extractor,
            metrics,
            batch_size,
            group,
            split,
            facts,
            copy_reference,
            BandOptions(draws=band_draws),
        )


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


class BandOptions(NamedTuple):
    """How the reference band is computed; see :func:`score_samples`.

    Attributes:
        by_class: whether real images are drawn with the classes of the reference.
        draws: bootstrap draws; 0 for no band; None: the metric's default.
    """

    by_class: bool = False
    draws: int | None = None


NO_BAND = BandOptions(draws=0)


def make_card(
    generated: Extracted | None,
    reference: ImageSet,
    extractor: Extractor,
    metrics: Sequence[str],
    batch_size: int,
    group: ScoringGroup,
    split: str | None,
    facts: Mapping[str, Any],
    copy_reference: CopyReference | None = None,
    band: BandOptions = NO_BAND,
) -> ScoreCard:
    """Compute scores from extracted features on rank 0 and give the card to every rank.

    Args:
        generated: features of the images to score; None on all ranks but the first.
        reference: the real images.
        extractor: the extractor.
        metrics: the requested metrics.
        batch_size: the number of real images per batch.
        group: the processes that score together.
        split: name of the reference's split; default: the last part of the reference's name.
        facts: further fields of the card.
        copy_reference: training and held-out images, for ``copies``.
        band: how the reference band is computed.

    Returns:
        The score card.
    """
    copy_features = extract_copy_features(copy_reference, extractor, metrics, batch_size, group)
    with_band = band.draws != 0 and any(map(has_band, metrics))
    real = extract_reference(reference, extractor, metrics, batch_size, group, with_vectors=with_band)
    held_out = held_out_of(reference, copy_reference) if with_band else None
    held_out_features = None
    if held_out is not None:
        held_out_features = extract_reference(held_out, extractor, (), batch_size, group, with_vectors=True)

    def make() -> ScoreCard:
        assert generated is not None
        assert real is not None
        num, subject, split_of_card = facts["num_generated"], facts["subject"], split or split_name(reference)
        copies = compare_copies(generated, copy_reference, copy_features)
        inputs = FeatureInputs(extractor, generated.features, real, num, len(reference), generated.per_image, copies)
        scores = compute_scores([*metrics, *generated.per_image], inputs)
        bands: dict[str, Band] = {}
        if with_band:
            vectors = torch.empty(0, extractor.width) if held_out_features is None else held_out_features.vectors
            images = RealImages(reference, real, held_out, vectors, band.by_class)
            bands = reference_bands(metrics, extractor, images, num, band.draws)
        flags = find_weaknesses(metrics, inputs)
        notes = extractor.notes(generated.image_shape[0])
        protocol = {name: protocol_name(name, num, split_of_card, extractor.name, subject) for name in metrics}
        if copies is not None and copy_reference is not None:
            training, beside = copy_reference
            protocol["copies"] = protocol_name("copies", num, split_name(training), extractor.name, subject)
            notes.append(
                f"copies of {len(training):,} training images of {training.name}, compared with {len(beside):,} "
                f"held-out images of {beside.name}"
            )
        broken = num - int(generated.per_image["finite"].sum()) if "finite" in generated.per_image else 0
        if broken:
            flags |= dict.fromkeys(metrics, f"{broken:,} images had values that are not finite, replaced by grey")
        real_shape = tuple(reference[:1].shape[1:])
        if real_shape != generated.image_shape:
            notes.append("generated {}x{}x{}, reference {}x{}x{}".format(*generated.image_shape, *real_shape))
        return ScoreCard(
            scores=scores,
            metrics=tuple(metrics),
            protocol=protocol,
            reference=reference.name,
            reference_key=reference.key,
            num_reference=len(reference),
            split=split_of_card,
            extractor=extractor.name,
            weights_hash=extractor.weights_hash,
            extractor_accuracy=extractor.accuracy,
            resizer=extractor.resizer,
            image_shape=generated.image_shape,
            num_modes=extractor.classes if "modes" in metrics else None,
            notes=tuple(notes),
            flags=flags,
            bands=bands,
            comparisons=compare_with_bands(scores, bands, num, len(reference)),
            **facts,
        )

    return group.on_first_rank(make)


def held_out_of(reference: ImageSet, images: CopyReference | None) -> ImageSet | None:
    """The held-out images, if the reference is the training set; None otherwise."""
    if images is None or images.training.key != reference.key or images.held_out.key == reference.key:
        return None
    return images.held_out


def make_copy_reference(
    reference: ImageSet, training: ImageSet | None, held_out: ImageSet | None
) -> CopyReference | None:
    """Training and held-out images; the reference if ``training`` is None, and None without held-out images."""
    return None if held_out is None else CopyReference(reference if training is None else training, held_out)


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


def to_stored(images: Images) -> tuple[StoredImages, torch.Tensor]:
    """Convert a model's images to uint8, with values that are not finite as grey, and tell which images had none."""
    finite = images.isfinite().flatten(1).all(1)
    return to_uint8(images.nan_to_num(0.0, 0.0, 0.0)), finite
