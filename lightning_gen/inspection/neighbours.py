"""The training images that are nearest to samples: does the model make images, or remember them?"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lightning_gen.evaluation import Extractor, classifier_splits, make_extractor
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.subject import Subject, at_least, without_classes
from lightning_gen.noise import image_generators
from lightning_gen.types import ImageGenerator, ImageSet, StoredImages


class Nearest:
    """Keeps, for each query, the k nearest rows of all that were seen, by squared Euclidean distance.

        |q - r|^2 = |q|^2 + |r|^2 - 2 <q, r>

    in double precision, in which it is exact for vectors of integers such as stored pixels: copies are at distance 0.

    Args:
        queries: the vectors whose neighbours are looked for.
        k: how many.

    Attributes:
        distances: of the k nearest rows so far, ascending, infinite where fewer rows were seen.
        indices: their numbers, in the order in which they were seen.
    """

    def __init__(self, queries: Float64[Tensor, "queries width"], k: int) -> None:
        self.queries = queries
        self.seen = 0
        self.distances: Float64[Tensor, "queries k"] = queries.new_full((len(queries), k), torch.inf)
        self.indices: Int64[Tensor, "queries k"] = torch.zeros_like(self.distances, dtype=torch.int64)

    def see(self, rows: Float64[Tensor, "rows width"]) -> None:
        """Take in some more rows.

        Args:
            rows: vectors as long as the queries.
        """
        products = self.queries @ rows.T
        squares = self.queries.square().sum(1, keepdim=True) + rows.square().sum(1) - 2 * products
        numbers = torch.arange(self.seen, self.seen + len(rows), device=rows.device).expand(len(self.queries), -1)
        distances = torch.cat([self.distances, squares.clamp(min=0)], 1)
        nearest = distances.topk(self.distances.shape[1], largest=False)
        self.distances = nearest.values
        self.indices = torch.cat([self.indices, numbers], 1).gather(1, nearest.indices)
        self.seen += len(rows)


Vectors = Float64[Tensor, "images features"]
NEAR = 1.0
"""Percentile of the test images' distances below which a sample counts as suspiciously near."""
SUSPICIOUS = 0.05
"""Share of such samples from which the summary says so: five times what is to be expected."""
PIXELS = 255


def neighbours(
    subject: Subject,
    num: int = 1000,
    k: int = 4,
    shown: int = 8,
    features: str | None = None,
    inception_weights: Path | None = None,
) -> Findings:
    """Look for the nearest training images of samples, in pixel space and in feature space.

    Distances are squared and Euclidean, of pixels in [0, 1] or of features. The yardstick are test images, which
    nobody remembers: of them 1 % lie nearer to their nearest training image than the 1st percentile, and so should
    about 1 % of the samples. A model that remembers has many such samples, at distances near 0. Blurred images lie near
    to everything in pixel space, so look at the picture and at the features, too.

    A conditional model draws its classes in turn.

    Args:
        subject: model and data.
        num: how many samples are drawn, and how many test images are looked at at most.
        k: nearest training images in each row of the picture.
        shown: samples in the picture, the first.
        features: what compares besides pixels: classifier (trained on the labelled dataset itself; the default for
            labelled data), inception (the default otherwise), or another extractor of torch-fidelity.
        inception_weights: a file of torch-fidelity's Inception weights, where they cannot be downloaded.

    Returns:
        In each row a sample and its nearest training images by pixels and by features; in both spaces mean and median
        distance of samples and of test images to their nearest training image, the ratio of the medians, and the share
        of samples that are nearer than the 1st percentile of the test images.

    Raises:
        InputError: when the model draws no samples, or the extractor is not to be had.
    """
    subject.need(ImageGenerator, "draws no samples, so that there is nothing to compare")
    at_least(1, num=num, k=k, shown=shown)
    train, test = subject.data.image_set("train"), subject.data.image_set("test")
    device = search_device(subject.model.device)
    extractor = make_extractor(
        features or ("classifier" if subject.data.num_classes else "inception"),
        labelled=classifier_splits(subject.data) if subject.data.num_classes else None,
        inception_weights=inception_weights,
        device=subject.model.device,
    )
    samples = draw(subject, num)
    held_out = test[np.asarray(without_classes(test, subject.data.leave_out).at_most(num).chosen)]
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
        summary=tuple(line(space, numbers[space]) for space in found),
    )


def draw(subject: Subject, num: int) -> StoredImages:
    """Draw samples, image i a function of (seed, i); of a conditional model, of its classes in turn.

    Args:
        subject: a ``ImageGenerator``.
        num: how many.

    Returns:
        uint8 images on the CPU.
    """
    model, parts = subject.model, []
    for start in range(0, num, subject.batch_size):
        indices = range(start, min(start + subject.batch_size, num))
        labels = torch.tensor(indices, device=model.device) % model.num_classes if model.num_classes else None
        parts.append(model.sample(len(indices), labels=labels, generator=image_generators(subject.seed, indices)))
    return torch.cat([to_uint8(part).cpu() for part in parts])


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
        train: the training images, which are read once, a batch at a time.
        extractor: whose features are compared besides the pixels.
        k: how many neighbours.
        batch_size: images that are looked at at once.
        device: where distances are computed.

    Returns:
        What was found by ``pixels`` and by ``features``.
    """

    def features(images: StoredImages) -> Vectors:
        return torch.cat([extractor(part).vectors for part in images.split(batch_size)]).to(device, torch.float64)

    def pixels(images: StoredImages) -> Vectors:
        return images.flatten(1).to(device).double()

    spaces = {"pixels": pixels, "features": features}
    found = {space: Nearest(vectors(queries), k) for space, vectors in spaces.items()}
    for start in range(0, len(train), batch_size):
        images = train[start : start + batch_size]
        for space, vectors in spaces.items():
            found[space].see(vectors(images))
    found["pixels"].distances /= PIXELS**2
    return found


def compare(distances: Float64[Tensor, " images"], num: int) -> dict[str, float | None]:
    """Hold the distances of samples against those of test images.

    Args:
        distances: to the nearest training image, of ``num`` samples and then of test images.
        num: how many are samples.

    Returns:
        The figures by name; no ratio where the test images are training images.
    """
    samples, test = distances[:num].cpu().numpy(), distances[num:].cpu().numpy()
    near, median = float(np.percentile(test, NEAR)), float(np.median(test))
    return {
        "samples_mean": float(samples.mean()),
        "samples_median": float(np.median(samples)),
        "test_mean": float(test.mean()),
        "test_median": median,
        "ratio": float(np.median(samples)) / median if median else None,
        "test_percentile_1": near,
        "samples_nearer": float((samples < near).mean()),
    }


def line(space: str, figures: dict[str, Any]) -> str:
    """What was found in a space, for the terminal."""
    suspicion = "; this may be memorising: look at the picture" if figures["samples_nearer"] > SUSPICIOUS else ""
    ratio = "none" if figures["ratio"] is None else f"{figures['ratio']:.3f}"
    return (
        f"{space}: median squared distance to the nearest training image {figures['samples_median']:.4g} of samples, "
        f"{figures['test_median']:.4g} of test images (ratio {ratio}); {figures['samples_nearer']:.1%} "
        f"of samples nearer than 99 % of test images{suspicion}"
    )


def search_device(device: torch.device) -> torch.device:
    """Where there are numbers of double precision: the model's device, but for Apple's."""
    return torch.device("cpu") if device.type == "mps" else device
