"""The training images nearest to samples: a test for memorisation."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.evaluation import (
    AUTO,
    NO_EXTRACTOR,
    Extractor,
    choose_extractor,
    classifier_splits,
    make_extractor,
)
from lightning_gen.evaluation.nearest import (
    MAX_PIXEL,
    Nearest,
    Vectors,
    draw_samples,
    nearest_images,
    pixels_on,
    search_device,
)
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.subject import Subject, without_classes
from lightning_gen.types import ImageGenerator, ImageSet, StoredImages

NEAR_PERCENTILE = 1.0
"""Percentile of the test images' distances below which a sample counts as near."""
MEMORISATION_THRESHOLD = 0.05
"""Fraction of near samples above which the summary warns: five times the expected fraction."""


def neighbours(
    subject: Subject,
    num: int = 1000,
    k: int = 4,
    shown: int = 8,
    features: str = AUTO,
    inception_weights: Path | None = None,
) -> Findings:
    """Find the nearest training images of samples, in pixel space and in feature space.

    Distances are squared Euclidean distances of pixels in [0, 1] or of features. They are compared with those of test
    images: 1 % of the test images are nearer to their nearest training image than the 1st percentile, and about 1 % of
    the samples should be. A model that memorises has many such samples, at distances near 0. Blurred images are near to
    every image in pixel space, so consider the picture and the features too. The metric ``copies`` of ``evaluate`` is a
    test for memorisation that allows for blurred images.

    A conditional model generates its classes in turn.

    Args:
        subject: model and data.
        num: number of samples, and maximum number of test images.
        k: number of nearest training images per row of the picture.
        shown: number of samples in the picture.
        features: feature extractor: classifier (trained on the labelled dataset itself), inception, efficientnet_lite0,
            or another extractor of torch-fidelity; auto chooses as for scores (see docs/scoring.md).
        inception_weights: a file with torch-fidelity's Inception weights, if they cannot be downloaded.

    Returns:
        Rows of a sample and its nearest training images by pixels and by features. For both spaces: mean and median
        distance of samples and of test images to their nearest training image, the ratio of the medians, and the
        fraction of samples nearer than the 1st percentile of the test images.

    Raises:
        InputError: if the model generates no samples, or the extractor is unavailable.
    """
    subject.require(ImageGenerator, "generates no samples to compare")
    check_at_least(1, prefix="--", num=num, k=k, shown=shown)
    train, test = subject.data.image_set("train"), subject.data.image_set("test")
    device = search_device(subject.model.device)
    labelled = train if subject.data.num_classes else None
    name = choose_extractor(labelled, inception_weights) if features == AUTO else features
    if name is None:
        raise InputError(NO_EXTRACTOR)
    extractor = make_extractor(
        name,
        labelled=classifier_splits(subject.data) if subject.data.num_classes else None,
        inception_weights=inception_weights,
        device=subject.model.device,
    )
    samples = draw_samples(subject.model, num, subject.seed, subject.batch_size)
    held_out = test[np.asarray(without_classes(test, subject.data.leave_out).at_most(num).indices)]
    found = search(torch.cat([samples, held_out]), train, extractor, min(k, len(train)), subject.batch_size, device)
    numbers: dict[str, Any] = {
        "num_samples": num,
        "num_test": len(held_out),
        "num_train": len(train),
        "extractor": extractor.name,
    }
    numbers |= {space: compare(nearest.distances[:, 0], num) for space, nearest in found.items()}
    shown = min(shown, num)
    blocks = [strip(samples[:shown], 1)]
    for nearest in found.values():
        blocks.append(strip(train[nearest.indices[:shown].flatten().cpu().numpy()], nearest.indices.shape[1]))
    return Findings(
        table([blocks], [""], ["sample", "nearest by pixels", f"nearest by {extractor.name}"]),
        numbers,
        summary=tuple(summary_line(space, numbers[space]) for space in found),
    )


def search(
    queries: StoredImages,
    train: ImageSet,
    extractor: Extractor,
    k: int,
    batch_size: int,
    device: torch.device,
) -> dict[str, Nearest]:
    """Find the nearest training images of images.

    Args:
        queries: the images.
        train: the training images, read once in batches.
        extractor: extractor of the features.
        k: number of neighbours.
        batch_size: number of images per batch.
        device: device of the distances.

    Returns:
        The neighbours by ``pixels`` and by ``features``.
    """

    def features(images: StoredImages) -> Vectors:
        return torch.cat([extractor(part).vectors for part in images.split(batch_size)]).to(device, torch.float64)

    spaces = {"pixels": pixels_on(device), "features": features}
    found = nearest_images(queries, train, spaces, k, batch_size)
    found["pixels"].distances /= MAX_PIXEL**2
    return found


def compare(distances: Float64[Tensor, " images"], num: int) -> dict[str, float | None]:
    """Compare the distances of samples with those of test images.

    Args:
        distances: distances to the nearest training image, of ``num`` samples followed by test images.
        num: number of samples.

    Returns:
        The statistics by name; the ratio is None if the median of the test images is 0.
    """
    samples, test = distances[:num].cpu().numpy(), distances[num:].cpu().numpy()
    near, median = float(np.percentile(test, NEAR_PERCENTILE)), float(np.median(test))
    return {
        "samples_mean": float(samples.mean()),
        "samples_median": float(np.median(samples)),
        "test_mean": float(test.mean()),
        "test_median": median,
        "ratio": float(np.median(samples)) / median if median else None,
        "test_percentile_1": near,
        "samples_nearer": float((samples < near).mean()),
    }


def summary_line(space: str, figures: dict[str, Any]) -> str:
    """The statistics of a space in one line."""
    suspicion = (
        "; the model may have memorised images: see the picture"
        if figures["samples_nearer"] > MEMORISATION_THRESHOLD
        else ""
    )
    ratio = "none" if figures["ratio"] is None else f"{figures['ratio']:.3f}"
    return (
        f"{space}: median squared distance to the nearest training image {figures['samples_median']:.4g} of samples, "
        f"{figures['test_median']:.4g} of test images (ratio {ratio}); {figures['samples_nearer']:.1%} "
        f"of samples nearer than 99 % of test images{suspicion}"
    )
