"""Anomaly scores of images, and how well they separate images unlike the training data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from lightning_gen.checks import check_at_least
from lightning_gen.data import ImageData, datasets
from lightning_gen.errors import InputError
from lightning_gen.evaluation import UniformNoise
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Block, Findings, render_figure, stack_vertically, strip, table
from lightning_gen.inspection.subject import Subject, Subset, of_classes, whole, without_classes
from lightning_gen.noise import image_generators
from lightning_gen.types import (
    Batch,
    Images,
    ImageSet,
    ImageShape,
    Labels,
    LikelihoodModel,
    Reconstructor,
    StoredImages,
)

NOISE = "noise"
Index = slice | npt.NDArray[np.int64]
DATASETS = tuple(name for name, info in datasets.DATASETS.items() if not info.root_is_dataset)


@dataclass
class NoiseImages:
    """An image set of uniform noise, image i a function of (seed, i).

    Attributes:
        image_shape: (channels, height, width).
        num: number of images.
        seed: seed of the noise.
        binarized: whether pixels are black or white, as in a binarised dataset.
        name: name for messages.
        key: a constant, because noise has no content to hash.
        labels: None.
    """

    image_shape: ImageShape
    num: int
    seed: int
    binarized: bool = False
    name: str = "uniform noise"
    key: str = NOISE
    labels: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: Index) -> StoredImages:
        generators = image_generators(self.seed, np.arange(self.num)[index].tolist())
        images = to_uint8(UniformNoise(self.image_shape).sample(len(generators), generator=generators))
        return (images > 127).to(torch.uint8) * 255 if self.binarized else images


@dataclass
class JoinedImages:
    """Concatenation of image sets with images of one shape.

    Attributes:
        parts: the sets.
        name: name for messages.
        key: hash of the content.
        labels: None.
    """

    parts: Sequence[ImageSet]
    name: str
    key: str
    labels: npt.NDArray[np.int64] | None = None

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """Index of each part's first image, followed by the total number."""
        return np.cumsum([0, *map(len, self.parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: Index) -> StoredImages:
        indices = np.arange(len(self))[index]
        part_of = np.searchsorted(self.starts, indices, side="right") - 1
        pairs = zip(part_of.tolist(), (indices - self.starts[part_of]).tolist(), strict=True)
        return torch.cat([self.parts[part][i : i + 1] for part, i in pairs])


def normal_and_anomalous(
    subject: Subject, against: str | None, against_root: str | None, classes: Sequence[int] | None, num: int
) -> tuple[Subset, Subset]:
    """Select the normal images and the anomalies.

    Args:
        subject: model and data.
        against: source of the anomalies: ``noise``, a dataset, a folder or zip; None for classes of the model's
            dataset.
        against_root: root of that dataset; None for the root of the model's dataset.
        classes: classes whose test images are the anomalies; None for those left out of the training.
        num: maximum number of images of each kind.

    Returns:
        The test images of the classes that are neither anomalies nor left out of the training, and the anomalies.

    Raises:
        InputError: if there is no source of anomalies or more than one, or it does not exist.
    """
    data = subject.data
    if against is not None and classes is not None:
        raise InputError("--against and --anomalous_class both set the anomalies; use one of them")
    test = data.image_set("test")
    if against is not None:
        anomalies = foreign_images(subject, against, against_root, num)
        return without_classes(test, data.leave_out).at_most(num), anomalies.at_most(num)
    classes = list(data.leave_out) if classes is None else classes
    if not classes:
        raise InputError(
            "name the anomalies: --against noise, --against DATASET or FOLDER, or --anomalous_class with a class that "
            "was left out of the training by data.leave_out"
        )
    if test.labels is None:
        raise InputError(f"--anomalous_class is {classes[0]}, and {test.name} has no labels; name --against")
    if wrong := [label for label in classes if not 0 <= label < data.num_classes]:
        raise InputError(f"--anomalous_class: there is no class {wrong[0]}, only 0 to {data.num_classes - 1}")
    parts = without_classes(test, {*classes, *data.leave_out}), of_classes(test, classes)
    for part in parts:
        if not part.indices:
            raise InputError(f"--anomalous_class {classes} leaves no images of {part.name}; use fewer or other classes")
    return parts[0].at_most(num), parts[1].at_most(num)


def foreign_images(subject: Subject, against: str, root: str | None, num: int) -> Subset:
    """Images from outside the model's dataset, converted to the model's image shape.

    Args:
        subject: model and data.
        against: ``noise``, a dataset (its test split), or a folder or zip (all of its images).
        root: root of the dataset.
        num: number of images of noise.

    Returns:
        The images.

    Raises:
        InputError: if the source does not exist.
    """
    shape, binarize = subject.model.image_shape, subject.data.binarize
    if against == NOISE:
        noise = NoiseImages(shape, num, subject.seed, binarize is not None)
        return whole(noise)
    is_dataset = against in DATASETS
    if not is_dataset and not Path(against).expanduser().exists():
        raise InputError(f"--against {against}: no folder or zip, and none of {NOISE}, {', '.join(DATASETS)}")
    data = ImageData(
        against if is_dataset else "folder",
        root=(root or str(subject.data.root)) if is_dataset else against,
        image_size=shape[1],
        channels=shape[0],
        binarize=binarize,
    )
    if is_dataset:
        return whole(data.image_set("test"))
    splits = {images.key: images for images in map(data.image_set, ("train", "val", "test"))}
    return whole(JoinedImages([*splits.values()], Path(against).name, " ".join(splits)))


Score = Literal["error", "elbo"]
Scores = Float64[Tensor, " _"]
AXES = {
    "error": "squared error of the reconstruction, pixels in [0, 1], summed over an image",
    "elbo": "negative ELBO in nats",
}
BINS = 40
LOG_RATIO = 20
"""The axis is logarithmic if the largest score exceeds this multiple of the first set's median."""


class Detection(NamedTuple):
    """AUROC and average precision in [0, 1], with the anomalies as the positive class."""

    auroc: float
    average_precision: float


def anomaly(
    subject: Subject,
    against: str | None = None,
    against_root: str | None = None,
    anomalous_class: list[int] | None = None,
    score: Score = "error",
    samples: int = 16,
    percentile: float = 95.0,
    num: int = 10_000,
    shown: int = 8,
) -> Findings:
    """Compute anomaly scores of images, and measure how well they detect anomalies.

        error: sum (u - v)^2, u and v in [0, 1] the image and its reconstruction
        elbo: -1/K sum_k log p(x, z_k) / q(z_k | x), z_k ~ q(z | x), in nats, K the number of samples

    The score of a conditional model is the minimum over all classes. Images above the threshold, a percentile of the
    training images' scores, count as detected. The numbers are meaningless for a model that was trained on the
    anomalies: train it without them (``--data.leave_out``).

    Args:
        subject: model and data.
        against: the anomalies: noise (uniform), another dataset (its test split) by its name, or a folder or zip of
            images, converted to the model's image shape. Default without anomalous_class: the classes left out of the
            training.
        against_root: root of that dataset (default: the root of the model's dataset).
        anomalous_class: the class, or classes, whose test images are the anomalies.
        score: error (of the reconstruction) or elbo (negative, for models with a likelihood).
        samples: number of latents per image for the ELBO.
        percentile: percentile of the training images' scores that is the threshold.
        num: maximum number of images of each kind, evenly spaced over the set.
        shown: number of images per strip of the picture.

    Returns:
        Histograms of the scores with the threshold, and below them the images with the lowest and the highest scores
        above their reconstructions; AUROC, average precision (with the anomalies as the positive class), threshold, and
        the fractions of images above it.

    Raises:
        InputError: if the model does not provide the score, or there are no anomalies.
    """
    if score == "error":
        subject.require(Reconstructor, "reconstructs no images, so there is no error; use an autoencoder")
    else:
        subject.require(LikelihoodModel, "has no ELBO; use --score error or a variational autoencoder")
    check_at_least(1, prefix="--", samples=samples, num=num, shown=shown)
    if not 0 <= percentile <= 100:
        raise InputError(f"--percentile is {percentile:g}; it must lie between 0 and 100, such as 95")
    normal, anomalies = normal_and_anomalous(subject, against, against_root, anomalous_class, num)
    train = whole(subject.data.image_set("train")).at_most(num)
    train_scores, normal_scores, anomaly_scores = (
        scores_of(subject, part, score, samples) for part in (train, normal, anomalies)
    )
    threshold = float(np.percentile(train_scores.numpy(), percentile))
    detection = measure(normal_scores, anomaly_scores)
    above = [(part > threshold).double().mean().item() for part in (normal_scores, anomaly_scores)]
    numbers: dict[str, Any] = {
        "score": score,
        "normal": normal.name,
        "anomalies": anomalies.name,
        **detection._asdict(),
        "percentile": percentile,
        "threshold": threshold,
        "normal_above": above[0],
        "anomalous_above": above[1],
        "num_train": len(train_scores),
        "num_normal": len(normal_scores),
        "num_anomalous": len(anomaly_scores),
    }
    blocks = [extremes(subject, *pair, shown) for pair in ((normal, normal_scores), (anomalies, anomaly_scores))]
    images = table(blocks, ("normal", "anomalies"), ("lowest scores, above their reconstructions", "highest scores"))
    named = {
        f"{train.name} ({len(train_scores)})": train_scores,
        f"normal: {normal.name} ({len(normal_scores)})": normal_scores,
    }
    named |= {f"anomalies: {anomalies.name} ({len(anomaly_scores)})": anomaly_scores}
    line = f"threshold: percentile {percentile:g} of {train.name}"
    title = f"{anomalies.name} against {normal.name}: AUROC {detection.auroc:.4f}"
    chart = histograms(named, threshold, line, score, title, images.shape[2])
    return Findings(
        stack_vertically(render_figure(chart), images),
        numbers,
        summary=(
            f"{anomalies.name} ({len(anomaly_scores)} images) against {normal.name} ({len(normal_scores)}), "
            f"by {AXES[score]}",
            f"AUROC {detection.auroc:.4f}, average precision {detection.average_precision:.4f}",
            f"above {threshold:.2f}, percentile {percentile:g} of {len(train_scores)} training images: "
            f"{above[0]:.1%} of the normal images, {above[1]:.1%} of the anomalies",
            *trained_on_anomalies(subject, anomalous_class),
        ),
    )


def trained_on_anomalies(subject: Subject, classes: list[int] | None) -> list[str]:
    """A warning if the model was trained on a class of the anomalies; else no lines."""
    seen = sorted({*(classes or ())} - {*subject.data.leave_out})
    return [f"the model was trained on class {seen[0]}: train one with --data.leave_out {seen}"] if seen else []


def scores_of(subject: Subject, part: Subset, score: Score, samples: int) -> Scores:
    """Anomaly scores of images on the CPU, higher for more anomalous images; ``InputError`` if one is not finite."""
    parts = []
    for batch in subject.batches(part.images, part.indices):
        parts.append(best_reconstruction(subject, batch)[1] if score == "error" else elbo(subject, batch, samples))
    scores = torch.cat(parts)
    if num_invalid := int((~scores.isfinite()).sum()):
        raise InputError(f"the scores of {num_invalid} of {len(scores)} images of {part.name} are not finite numbers")
    return scores


def best_reconstruction(subject: Subject, batch: Batch) -> tuple[Images, Scores]:
    """Reconstructions of images, and the squared error of each in [0, 1], summed over pixels.

    A conditional model reconstructs each image with the class of the smallest error.
    """
    images = batch.images
    tries = torch.stack([subject.model.reconstruct(images, labels=labels) for labels in every_class(subject, batch)])
    errors = (tries - images).cpu().double().div(2).square().flatten(2).sum(2)  # (classes, images)
    lowest, best = errors.min(0)
    return tries[best.to(tries.device), torch.arange(len(images), device=tries.device)], lowest


def elbo(subject: Subject, batch: Batch, samples: int) -> Scores:
    """Negative ELBO of images in nats, of ``samples`` latents each; the minimum over the classes if conditional."""
    weights = [
        subject.model.log_weights(batch.images, samples, labels=labels) for labels in every_class(subject, batch)
    ]
    return -torch.stack([part.cpu().double().mean(0) for part in weights]).amax(0)


def every_class(subject: Subject, batch: Batch) -> list[Labels | None]:
    """Labels of a batch for each class of a conditional model; [None] for an unconditional one."""
    count = len(batch.images)
    labels = [torch.full((count,), i, device=batch.images.device) for i in range(subject.model.num_classes)]
    return [*labels] or [None]


def measure(normal: Scores, anomalous: Scores) -> Detection:
    """AUROC and average precision of scores; for random scores 0.5 and the fraction of anomalies."""
    # torchmetrics applies a sigmoid, which saturates, to scores outside [0, 1]; both measures depend on ranks only
    _, order = torch.cat([normal, anomalous]).unique(return_inverse=True)
    ranks = order.double() / max(1, int(order.max()))
    truth = torch.cat([torch.zeros(len(normal)), torch.ones(len(anomalous))]).long()
    return Detection(binary_auroc(ranks, truth).item(), binary_average_precision(ranks, truth).item())


def extremes(subject: Subject, part: Subset, scores: Scores, shown: int) -> list[Block]:
    """Two pictures: the images with the lowest and with the highest scores, above their reconstructions, if any."""
    order = scores.argsort(stable=True).tolist()
    blocks = []
    for indices in (order[:shown], order[: -shown - 1 : -1]):
        batch = subject.batch(part.images, [part.indices[i] for i in indices])
        rows = [batch.images]
        if isinstance(subject.model, Reconstructor):
            rows.append(best_reconstruction(subject, batch)[0])
        blocks.append(strip(to_uint8(torch.cat(rows)).cpu(), len(indices)))
    return blocks


def histograms(
    scores: Mapping[str, Scores], threshold: float, name: str, score: Score, title: str, width: int
) -> Figure:
    """Histograms of the scores of several sets.

    Args:
        scores: scores by set; the first is drawn as an outline.
        threshold: position of a vertical line.
        name: label of the threshold.
        score: the kind of score.
        title: the title.
        width: width of the figure in pixels.

    Returns:
        The figure.
    """
    combined = torch.cat([*scores.values()])
    low, high = float(combined.min()), float(combined.max())
    logarithmic = low > 0 and high > LOG_RATIO * float(next(iter(scores.values())).median())
    edges = (np.geomspace if logarithmic else np.linspace)(low, high, BINS + 1)
    if low == high:
        edges = np.linspace(low - 0.5, high + 0.5, BINS + 1)
    figure = Figure(figsize=(max(width, 640) / 100, 3.4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    styles: tuple[dict[str, Any], ...] = (
        {"histtype": "step", "color": "black"},
        {"color": "tab:blue", "alpha": 0.6},
        {"color": "tab:red", "alpha": 0.5},
    )
    for (label, values), style in zip(scores.items(), styles, strict=True):
        axes.hist(values.numpy(), edges.tolist(), weights=np.full(len(values), 1 / len(values)), label=label, **style)
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1, label=name)
    if logarithmic:
        axes.set_xscale("log")
    axes.set(xlabel=AXES[score], ylabel="share of images", title=title)
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure
