"""From images to features: in batches, shared by the ranks, and for the reference kept by content."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_gen.distributed import ScoringGroup
from lightning_gen.evaluation.extractor import Extractor, Features
from lightning_gen.evaluation.files import Arrays, cache_path, read_arrays, write_arrays
from lightning_gen.evaluation.metrics import LOGITS_ALONE, Reference, statistics
from lightning_gen.types import ImageSet, ImageShape, StoredImages


class Drawn(NamedTuple):
    """Images to score, and figures of each (of length ``num``) to carry along."""

    images: StoredImages
    figures: Mapping[str, Tensor] = {}


class Extracted(NamedTuple):
    """Features of all images in order, their figures, and the images' shape."""

    features: Features
    figures: Mapping[str, Tensor]
    image_shape: ImageShape


def extract(
    draw: Callable[[range], Drawn],
    num: int,
    extractor: Extractor,
    batch_size: int,
    ranks: ScoringGroup,
    metrics: Sequence[str] = (),
) -> Extracted | None:
    """Extract the features of ``num`` images; every rank does its share.

    Args:
        draw: gives the images of some indices.
        num: how many images there are.
        extractor: what looks at them.
        batch_size: how many are drawn at once.
        ranks: the processes that share the work.
        metrics: what the features are for; logits are kept only for metrics that look at them, since those of many
            classes outweigh the features. Where the images carry the figure ``label``, whether the extractor finds the
            same class is carried on as ``right``.

    Returns:
        The whole on rank 0, None on the others.
    """
    with_logits = bool({*LOGITS_ALONE} & {*metrics})
    columns: dict[str, list[Tensor]] = {}
    shape: tuple[int, ...] = ()
    share = ranks.share(num)
    for start in range(0, len(share), batch_size):
        images, figures = draw(share[start : start + batch_size])
        shape = tuple(images.shape[1:])
        features = extractor(images)
        found = {"vectors": features.vectors} | {f"figure/{name}": figure.cpu() for name, figure in figures.items()}
        if features.logits is not None and with_logits:
            found["logits"] = features.logits
        if features.logits is not None and "label" in figures:
            found["figure/right"] = features.logits.argmax(1) == figures["label"].cpu()
        for name, rows in found.items():
            columns.setdefault(name, []).append(rows)
    whole = ranks.gather({name: torch.cat(parts) for name, parts in columns.items()}, num)
    if whole is None:
        return None
    carried = {name.removeprefix("figure/"): rows for name, rows in whole.items() if name.startswith("figure/")}
    channels, height, width = shape
    return Extracted(Features(whole["vectors"], whole.get("logits")), carried, (channels, height, width))


def from_set(images: ImageSet) -> Callable[[range], Drawn]:
    """Draw the images of a set."""
    return lambda indices: Drawn(images[np.asarray(indices, dtype=np.int64)])


def extract_reference(
    reference: ImageSet, extractor: Extractor, metrics: Sequence[str], batch_size: int, ranks: ScoringGroup
) -> Reference | None:
    """What the metrics need of the reference images: read from the cache, or extracted once and kept there.

    The cache is keyed by the images' content and the extractor's weights, so neither a changed image nor another
    network is ever served stale; a damaged file is made again. FID alone keeps two moments, not every feature.

    Args:
        reference: the real images.
        extractor: what looks at them.
        metrics: what will be computed.
        batch_size: how many images are looked at at once.
        ranks: the processes that share the work.

    Returns:
        The reference on rank 0, None on the others.
    """
    key = (reference.key, extractor.name, extractor.weights_hash)
    vectors_path, statistics_path = cache_path("features", *key), cache_path("statistics", *key)
    needs_vectors, needs_statistics = bool({"kid", "prc"} & {*metrics}), "fid" in metrics
    nothing = torch.empty(0, extractor.width)

    def read() -> Reference | None:
        vectors = read_whole(vectors_path, vectors=(len(reference), extractor.width)) if needs_vectors else {}
        moments = read_whole(statistics_path, mu=(extractor.width,), sigma=(extractor.width,) * 2)
        if vectors is None or (moments is None and needs_statistics):
            return None
        return Reference(torch.from_numpy(vectors["vectors"]) if vectors else nothing, moments or {})

    found = read() if ranks.rank == 0 else None
    if ranks.on_first_rank(lambda: found is not None):
        return found
    extracted = extract(from_set(reference), len(reference), extractor, batch_size, ranks)
    if extracted is None or not (needs_vectors or needs_statistics):
        return None if extracted is None else Reference(nothing, {})
    vectors = extracted.features.vectors
    moments = statistics(vectors) if needs_statistics else {}
    if needs_vectors:
        write_arrays(vectors_path, {"vectors": vectors.numpy()})
    if needs_statistics:
        write_arrays(statistics_path, moments)
    return Reference(vectors, moments)


def read_whole(path: Path, **shapes: tuple[int, ...]) -> Arrays | None:
    """Read a cache file, taking one whose arrays are not of these shapes for damaged."""
    arrays = read_arrays(path)
    if arrays is None or {name: array.shape for name, array in arrays.items()} != shapes:
        return None
    return arrays
