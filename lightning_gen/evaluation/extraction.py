"""Feature extraction in batches, shared among the ranks; reference features are cached by content."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_gen.distributed import ScoringGroup
from lightning_gen.evaluation.array_cache import cache_path, read_arrays_of_shapes, write_arrays
from lightning_gen.evaluation.copies import CopyReference, CopyStatistics, copy_statistics
from lightning_gen.evaluation.distance import ImageDistance
from lightning_gen.evaluation.extractor import Extractor, Features
from lightning_gen.evaluation.metric_record import LatentBatch, Metric, Need, Reference, Vectors
from lightning_gen.evaluation.metrics import METRICS, automatic_metrics, needs_of, statistics
from lightning_gen.images import to_uint8
from lightning_gen.types import Images, ImageSet, ImageShape, Labels, StoredImages

PREFIX = "image/"
"""Prefix of the columns of per-image values among the gathered columns."""


class ScoredBatch(NamedTuple):
    """A batch of images to score.

    Attributes:
        images: the images.
        per_image: further values of each image, by name.
        labels: the class that each image should have, where the extractor knows the classes: the requested one
            (``labels``) or that of the image's input (``input_labels``).
    """

    images: StoredImages
    per_image: Mapping[str, Tensor] = {}
    labels: Mapping[Need, Labels] = {}


class Extracted(NamedTuple):
    """Features and further values of all images in order.

    Attributes:
        features: the features; empty without an extractor.
        per_image: values of each image, by name.
        image_shape: the images' shape; None if they differ in size.
        images: the images, if a metric needs them.
    """

    features: Features
    per_image: Mapping[str, Tensor]
    image_shape: ImageShape | None
    images: StoredImages | None = None


class CopyFeatures(NamedTuple):
    """Features of the real images that ``copies`` compares samples with."""

    training: Vectors
    held_out: Vectors


def extract(
    load: Callable[[range], ScoredBatch],
    num: int,
    extractor: Extractor | None,
    batch_size: int,
    group: ScoringGroup,
    metrics: Sequence[str] = (),
) -> Extracted | None:
    """Extract the features of ``num`` images; every rank extracts its share.

    Args:
        load: returns the images with the given indices.
        num: the number of images.
        extractor: the network; None if only values per image are needed.
        batch_size: the number of images per call of ``load``.
        group: the processes that share the work.
        metrics: the requested metrics. Logits and images are returned only when one of them needs them, because they
            may take more memory than the features.

    Returns:
        The features on rank 0, None on the others. ``per_image`` has the metrics that need labels where the batches
        have labels and the extractor has logits.
    """
    needs = needs_of(metrics)
    with_logits, with_images = "logits" in needs, "held_out" in needs
    columns: dict[str, list[Tensor]] = {}
    shapes: set[tuple[int, ...]] = set()
    share = group.share(num)
    for start in range(0, len(share), batch_size):
        batch = load(share[start : start + batch_size])
        shapes.add(tuple(batch.images.shape[1:]))
        features = Features(torch.empty(len(batch.images), 0)) if extractor is None else extractor(batch.images)
        values = {"vectors": features.vectors}
        values |= {f"{PREFIX}{name}": value.cpu() for name, value in batch.per_image.items()}
        if with_images:
            values["images"] = batch.images.cpu()
        if features.logits is not None and with_logits:
            values["logits"] = features.logits
        if features.logits is not None:
            for need, labels in batch.labels.items():
                compared = compare_pairs(automatic_metrics(need), features.logits, labels.cpu())
                values |= {f"{PREFIX}{name}": value for name, value in compared.items()}
        for name, rows in values.items():
            columns.setdefault(name, []).append(rows)
    gathered = group.gather({name: torch.cat(parts) for name, parts in columns.items()}, num)
    if gathered is None:
        return None
    per_image = {name.removeprefix(PREFIX): rows for name, rows in gathered.items() if name.startswith(PREFIX)}
    features = Features(gathered["vectors"], gathered.get("logits"))
    channels, height, width = next(iter(shapes))
    image_shape = (channels, height, width) if len(shapes) == 1 else None
    return Extracted(features, per_image, image_shape, gathered.get("images"))


def own_labels(extractor: Extractor | None, labels: Labels, need: Need = "labels") -> dict[Need, Labels]:
    """The labels of a batch by need, where the extractor knows the dataset's classes; empty otherwise."""
    return {need: labels} if extractor is not None and extractor.own_classes else {}


def to_stored(images: Images) -> tuple[StoredImages, Tensor]:
    """Convert a model's images to uint8, with values that are not finite as grey, and tell which images had none."""
    finite = images.isfinite().flatten(1).all(1)
    return to_uint8(images.nan_to_num(0.0, 0.0, 0.0)), finite


def probe_generator(metrics: Sequence[str], batch: LatentBatch, distance: ImageDistance) -> dict[str, Tensor]:
    """The values that metrics of a generator give to each sample, by name; other metrics are ignored."""
    probes = {name: METRICS[name].probe for name in metrics}
    return {name: probe(batch, distance) for name, probe in probes.items() if probe is not None}


def compare_pairs(metrics: Sequence[Metric[Any]], first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """The values that metrics with ``per_image`` give to each pair, by name."""
    return {metric.name: metric.per_image(first, second) for metric in metrics if metric.per_image is not None}


def pair_metrics(need: Need, side: int) -> list[Metric[Any]]:
    """The automatic metrics of a need that are defined for images whose smallest height or width is ``side``."""
    return [metric for metric in automatic_metrics(need) if side >= metric.min_side]


def batches_of(images: ImageSet) -> Callable[[range], ScoredBatch]:
    """The ``load`` function of an image set."""
    return lambda indices: ScoredBatch(images[np.asarray(indices, dtype=np.int64)])


def extract_reference(
    reference: ImageSet,
    extractor: Extractor,
    metrics: Sequence[str],
    batch_size: int,
    group: ScoringGroup,
    with_vectors: bool = False,
) -> Reference | None:
    """Extract what the metrics need of the reference images, or read it from the cache.

    The cache key is a hash of the images' content and of the extractor's weights; a damaged file is recomputed. For
    FID without a band only the two moments are cached, not the features.

    Args:
        reference: the real images.
        extractor: the network.
        metrics: the requested metrics.
        batch_size: the number of images per batch.
        group: the processes that share the work.
        with_vectors: return the feature vectors even where no metric needs them.

    Returns:
        The reference on rank 0, None on the others.
    """
    key = (reference.key, extractor.name, extractor.weights_hash)
    vectors_path, moments_path = cache_path("features", *key), cache_path("statistics", *key)
    needs = needs_of(metrics)
    needs_vectors = with_vectors or bool(needs & {"features", "held_out"})
    needs_moments = "statistics" in needs
    no_vectors = torch.empty(0, extractor.width)

    def read() -> Reference | None:
        vectors, moments = no_vectors, {}
        if needs_vectors:
            arrays = read_arrays_of_shapes(vectors_path, vectors=(len(reference), extractor.width))
            if arrays is None:
                return None
            vectors = torch.from_numpy(arrays["vectors"])
        if needs_moments:
            arrays = read_arrays_of_shapes(moments_path, mu=(extractor.width,), sigma=(extractor.width,) * 2)
            if arrays is None:
                return None
            moments = dict(arrays)
        return Reference(vectors, moments)

    cached = read() if group.rank == 0 else None
    if group.on_first_rank(lambda: cached is not None):
        return cached
    extracted = extract(batches_of(reference), len(reference), extractor, batch_size, group)
    if extracted is None:
        return None
    vectors = extracted.features.vectors
    moments = statistics(vectors) if needs_moments else {}
    if needs_vectors:
        write_arrays(vectors_path, {"vectors": vectors.numpy()})
    if needs_moments:
        write_arrays(moments_path, moments)
    return Reference(vectors, moments)


def extract_copy_features(
    real: CopyReference | None, extractor: Extractor, metrics: Sequence[str], batch_size: int, group: ScoringGroup
) -> CopyFeatures | None:
    """Extract the features of the training and of the held-out images, or read them from the cache.

    Args:
        real: these images; must not be None if a metric needs them.
        extractor: the network.
        metrics: the requested metrics.
        batch_size: the number of images per batch.
        group: the processes that share the work.

    Returns:
        The features on rank 0; None on the others, and if no metric needs held-out images.
    """
    if "held_out" not in needs_of(metrics):
        return None
    assert real is not None
    training, held_out = (extract_reference(part, extractor, metrics, batch_size, group) for part in real)
    return CopyFeatures(training.vectors, held_out.vectors) if training and held_out else None


def compare_copies(
    generated: Extracted, real: CopyReference | None, features: CopyFeatures | None
) -> CopyStatistics | None:
    """Compute the statistics of data-copying on rank 0; None where ``features`` is None."""
    if real is None or features is None:
        return None
    assert generated.images is not None
    return copy_statistics(
        (generated.images, generated.features.vectors),
        (real.training, features.training),
        (real.held_out, features.held_out),
    )
