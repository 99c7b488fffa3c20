"""Feature extraction in batches, shared among the ranks; reference features are cached by content."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_gen.distributed import ScoringGroup
from lightning_gen.evaluation.array_cache import cache_path, read_arrays_of_shapes, write_arrays
from lightning_gen.evaluation.copies import CopyReference, CopyStatistics, copy_statistics
from lightning_gen.evaluation.extractor import Extractor, Features
from lightning_gen.evaluation.metric_record import Reference, Vectors
from lightning_gen.evaluation.metrics import automatic_metrics, needs_of, statistics
from lightning_gen.types import ImageSet, ImageShape, Labels, StoredImages

PREFIX = "image/"
"""Prefix of the columns of per-image values among the gathered columns."""


class ScoredBatch(NamedTuple):
    """A batch of images to score.

    Attributes:
        images: the images.
        per_image: further values of each image, by name.
        labels: the class that was requested of each image, where the extractor knows the classes.
    """

    images: StoredImages
    per_image: Mapping[str, Tensor] = {}
    labels: Labels | None = None


class Extracted(NamedTuple):
    """Features and further values of all images in order, the images' shape, and the images if a metric needs them."""

    features: Features
    per_image: Mapping[str, Tensor]
    image_shape: ImageShape
    images: StoredImages | None = None


class CopyFeatures(NamedTuple):
    """Features of the real images that ``copies`` compares samples with."""

    training: Vectors
    held_out: Vectors


def extract(
    load: Callable[[range], ScoredBatch],
    num: int,
    extractor: Extractor,
    batch_size: int,
    group: ScoringGroup,
    metrics: Sequence[str] = (),
) -> Extracted | None:
    """Extract the features of ``num`` images; every rank extracts its share.

    Args:
        load: returns the images with the given indices.
        num: the number of images.
        extractor: the network.
        batch_size: the number of images per call of ``load``.
        group: the processes that share the work.
        metrics: the requested metrics. Logits and images are returned only when one of them needs them, because they
            may take more memory than the features.

    Returns:
        The features on rank 0, None on the others. ``per_image`` has the metrics that need ``labels`` where the batches
        have labels and the extractor has logits.
    """
    needs = needs_of(metrics)
    with_logits, with_images = "logits" in needs, "held_out" in needs
    columns: dict[str, list[Tensor]] = {}
    shape: tuple[int, ...] = ()
    share = group.share(num)
    for start in range(0, len(share), batch_size):
        batch = load(share[start : start + batch_size])
        shape = tuple(batch.images.shape[1:])
        features = extractor(batch.images)
        values = {"vectors": features.vectors}
        values |= {f"{PREFIX}{name}": value.cpu() for name, value in batch.per_image.items()}
        if with_images:
            values["images"] = batch.images.cpu()
        if features.logits is not None and with_logits:
            values["logits"] = features.logits
        if features.logits is not None and batch.labels is not None:
            for metric in automatic_metrics("labels"):
                assert metric.per_image is not None
                values[f"{PREFIX}{metric.name}"] = metric.per_image(features.logits, batch.labels.cpu())
        for name, rows in values.items():
            columns.setdefault(name, []).append(rows)
    gathered = group.gather({name: torch.cat(parts) for name, parts in columns.items()}, num)
    if gathered is None:
        return None
    per_image = {name.removeprefix(PREFIX): rows for name, rows in gathered.items() if name.startswith(PREFIX)}
    channels, height, width = shape
    features = Features(gathered["vectors"], gathered.get("logits"))
    return Extracted(features, per_image, (channels, height, width), gathered.get("images"))


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
