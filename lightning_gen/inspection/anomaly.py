"""An anomaly score for each image, and how well it tells what the model has not learned."""

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

from lightning_gen.data import ImageData, datasets
from lightning_gen.errors import InputError
from lightning_gen.evaluation import UniformNoise
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Block, Findings, below, picture_of, strip, table
from lightning_gen.inspection.subject import Part, Subject, at_least, of_classes, whole, without_classes
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
        num: how many images.
        seed: of the noise.
        binarized: whether pixels are black or white, as those of a binarised dataset are.
        name: what it is.
        key: noise has no content to hash.
        labels: none.
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
    """Several image sets one after the other.

    Attributes:
        parts: the sets, of images of one shape.
        name: of the whole.
        key: hash of its content.
        labels: none are kept.
    """

    parts: Sequence[ImageSet]
    name: str
    key: str
    labels: npt.NDArray[np.int64] | None = None

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """The number of each part's first image, and of all."""
        return np.cumsum([0, *map(len, self.parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: Index) -> StoredImages:
        chosen = np.arange(len(self))[index]
        which = np.searchsorted(self.starts, chosen, side="right") - 1
        one_by_one = zip(which.tolist(), (chosen - self.starts[which]).tolist(), strict=True)
        return torch.cat([self.parts[part][i : i + 1] for part, i in one_by_one])


def normal_and_anomalous(
    subject: Subject, against: str | None, against_root: str | None, classes: Sequence[int] | None, num: int
) -> tuple[Part, Part]:
    """Find the normal images and the anomalies.

    Args:
        subject: model and data.
        against: where the anomalies come from: ``noise``, a dataset, a folder or zip; None for some classes of the
            data's own.
        against_root: where that dataset lies; where the model's own does when None.
        classes: the classes whose test images are the anomalies; those that were left out of the training when None.
        num: how many images of each there are to be, at most.

    Returns:
        The test images of the classes that are neither asked for as anomalies nor were left out of the training, and
        the anomalies.

    Raises:
        InputError: when there is not one source of anomalies, or it is missing.
    """
    data = subject.data
    if against is not None and classes is not None:
        raise InputError("--against and --anomalous_class both say what the anomalies are; name one of them")
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
        if not part.chosen:
            raise InputError(
                f"--anomalous_class {classes} leaves no images of {part.name}; name fewer or other classes"
            )
    return parts[0].at_most(num), parts[1].at_most(num)


def foreign_images(subject: Subject, against: str, root: str | None, num: int) -> Part:
    """Images that are not of the model's dataset, brought to the model's image shape.

    Args:
        subject: the model and how its own data is treated.
        against: ``noise``, a dataset (its test split), or a folder or zip (all of its images).
        root: where the dataset lies.
        num: how many images of noise to draw.

    Returns:
        The images.

    Raises:
        InputError: when there is no such source.
    """
    shape, binarize = subject.model.image_shape, subject.data.binarize
    if against == NOISE:
        noise = NoiseImages(shape, num, subject.seed, binarize is not None)
        return whole(noise)
    known = against in DATASETS
    if not known and not Path(against).expanduser().exists():
        raise InputError(f"--against {against}: no folder or zip, and none of {NOISE}, {', '.join(DATASETS)}")
    data = ImageData(
        against if known else "folder",
        root=(root or str(subject.data.root)) if known else against,
        image_size=shape[1],
        channels=shape[0],
        binarize=binarize,
    )
    if known:
        return whole(data.image_set("test"))
    splits = {images.key: images for images in map(data.image_set, ("train", "val", "test"))}
    return whole(JoinedImages([*splits.values()], Path(against).name, " ".join(splits)))


Score = Literal["error", "elbo"]
Scores = Float64[Tensor, " _"]
AXES = {"error": "squared error of the reconstruction", "elbo": "negative ELBO in nats"}
BINS = 40
FAR = 20
"""Where a score is so many times the first set's median, the axis is logarithmic."""


class Measured(NamedTuple):
    """AUROC and average precision, both in [0, 1], the anomalies being what is to be found."""

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
    """Score images by how badly the model knows them, and see how well that finds anomalies.

        error: sum (u - v)^2, u and v in [0, 1] the image and its reconstruction
        elbo: -1/K sum_k log p(x, z_k) / q(z_k | x), z_k ~ q(z | x), in nats, K the number of samples

    A conditional model is not told an image's class: its score is the least over all classes. Images above the
    threshold, a percentile of the training images' scores, count as found. Of a model that has learned the anomalies,
    too, the numbers say nothing: train it without them (``--data.leave_out``).

    Args:
        subject: model and data.
        against: what the anomalies are: noise (uniform), another dataset (its test split) by its name, or a folder or
            zip of images; all are brought to the model's image shape. Where neither this nor anomalous_class is given,
            the classes that training left out.
        against_root: where that dataset lies; where the model's own does when not given.
        anomalous_class: the class, or the classes, whose test images are the anomalies.
        score: error (of the reconstruction) or elbo (negative, for models with a likelihood).
        samples: latents that are drawn for each image's ELBO.
        percentile: of the training images' scores, which is the threshold.
        num: images of each kind at most, evenly spaced over the set where it has more.
        shown: images in a strip of the picture.

    Returns:
        Histograms of the scores with the threshold, and below them the images with the lowest and with the highest
        scores above their reconstructions; AUROC, average precision (the anomalies being what is to be found),
        threshold, and the shares of images above it.

    Raises:
        InputError: when the model gives no such score, or the anomalies cannot be found.
    """
    if score == "error":
        subject.need(Reconstructor, "reconstructs no images, so that there is no error; take an autoencoder")
    else:
        subject.need(LikelihoodModel, "has no ELBO; take --score error or a variational autoencoder")
    at_least(1, samples=samples, num=num, shown=shown)
    if not 0 <= percentile <= 100:
        raise InputError(f"--percentile is {percentile:g}; it must lie between 0 and 100, such as 95")
    normal, strange = normal_and_anomalous(subject, against, against_root, anomalous_class, num)
    learned = whole(subject.data.image_set("train")).at_most(num)
    known, usual, unusual = (scores_of(subject, part, score, samples) for part in (learned, normal, strange))
    threshold = float(np.percentile(known.numpy(), percentile))
    found = measure(usual, unusual)
    above = [(part > threshold).double().mean().item() for part in (usual, unusual)]
    numbers: dict[str, Any] = {
        "score": score,
        "normal": normal.name,
        "anomalies": strange.name,
        **found._asdict(),
        "percentile": percentile,
        "threshold": threshold,
        "normal_above": above[0],
        "anomalous_above": above[1],
        "num_train": len(known),
        "num_normal": len(usual),
        "num_anomalous": len(unusual),
    }
    blocks = [extremes(subject, *pair, shown) for pair in ((normal, usual), (strange, unusual))]
    images = table(blocks, ("normal", "anomalies"), ("lowest scores, above their reconstructions", "highest scores"))
    named = {f"{learned.name} ({len(known)})": known, f"normal: {normal.name} ({len(usual)})": usual}
    named |= {f"anomalies: {strange.name} ({len(unusual)})": unusual}
    line = f"threshold: percentile {percentile:g} of {learned.name}"
    chart = histograms(named, threshold, line, score, found.auroc, images.shape[2])
    return Findings(
        below(picture_of(chart), images),
        numbers,
        summary=(
            f"{strange.name} ({len(unusual)} images) against {normal.name} ({len(usual)}), by {AXES[score]}",
            f"AUROC {found.auroc:.4f}, average precision {found.average_precision:.4f}",
            f"above {threshold:.2f}, percentile {percentile:g} of {len(known)} training images: "
            f"{above[0]:.1%} of the normal images, {above[1]:.1%} of the anomalies",
            *unlearned(subject, anomalous_class),
        ),
    )


def unlearned(subject: Subject, classes: list[int] | None) -> list[str]:
    """A word of warning where the model was trained on what are to be anomalies."""
    seen = sorted({*(classes or ())} - {*subject.data.leave_out})
    return [f"the model was trained on class {seen[0]}: train one with --data.leave_out {seen}"] if seen else []


def scores_of(subject: Subject, part: Part, score: Score, samples: int) -> Scores:
    """Score images.

    Args:
        subject: the model.
        part: the images.
        score: which.
        samples: latents for each image's ELBO.

    Returns:
        A score for each, on the CPU; the larger, the less the model knows the image.

    Raises:
        InputError: when a score is not finite.
    """
    parts = []
    for batch in subject.batches(part.images, part.chosen):
        parts.append(best_reconstruction(subject, batch)[1] if score == "error" else elbo(subject, batch, samples))
    scores = torch.cat(parts)
    if broken := int((~scores.isfinite()).sum()):
        raise InputError(f"the scores of {broken} of {len(scores)} images of {part.name} are not finite numbers")
    return scores


def best_reconstruction(subject: Subject, batch: Batch) -> tuple[Images, Scores]:
    """Reconstruct images; by a conditional model, each as the class that fits it best.

    Args:
        subject: a ``Reconstructor``.
        batch: the images.

    Returns:
        The reconstructions, and the squared error of each in [0, 1], summed over pixels.
    """
    images = batch.images
    tries = torch.stack([subject.model.reconstruct(images, labels=labels) for labels in every_class(subject, batch)])
    errors = (tries - images).cpu().double().div(2).square().flatten(2).sum(2)  # (classes, images)
    least, best = errors.min(0)
    return tries[best.to(tries.device), torch.arange(len(images), device=tries.device)], least


def elbo(subject: Subject, batch: Batch, samples: int) -> Scores:
    """The negative ELBO of images; by a conditional model, of the class that fits each best.

    Args:
        subject: a ``LikelihoodModel``.
        batch: the images.
        samples: latents for each.

    Returns:
        Nats.
    """
    weights = [
        subject.model.log_weights(batch.images, samples, labels=labels) for labels in every_class(subject, batch)
    ]
    return -torch.stack([part.cpu().double().mean(0) for part in weights]).amax(0)


def every_class(subject: Subject, batch: Batch) -> list[Labels | None]:
    """Each class of a conditional model as labels of a batch; None alone for an unconditional one."""
    count = len(batch.images)
    labels = [torch.full((count,), i, device=batch.images.device) for i in range(subject.model.num_classes)]
    return [*labels] or [None]


def measure(normal: Scores, anomalous: Scores) -> Measured:
    """How well scores tell anomalies from normal images.

    Args:
        normal: scores of normal images.
        anomalous: scores of anomalies.

    Returns:
        AUROC, 0.5 where the scores tell nothing, and average precision, then the share of anomalies.
    """
    # torchmetrics would put scores outside [0, 1] through a sigmoid, which is 1 for all that are large; their order
    # is all that counts
    _, order = torch.cat([normal, anomalous]).unique(return_inverse=True)
    ranks = order.double() / max(1, int(order.max()))
    truth = torch.cat([torch.zeros(len(normal)), torch.ones(len(anomalous))]).long()
    return Measured(binary_auroc(ranks, truth).item(), binary_average_precision(ranks, truth).item())


def extremes(subject: Subject, part: Part, scores: Scores, shown: int) -> list[Block]:
    """The images with the lowest and with the highest scores, above their reconstructions where there are such.

    Args:
        subject: the model.
        part: the images.
        scores: of all of them.
        shown: how many of each kind.

    Returns:
        Two pictures.
    """
    order = scores.argsort(stable=True).tolist()
    blocks = []
    for places in (order[:shown], order[: -shown - 1 : -1]):
        batch = subject.batch(part.images, [part.chosen[i] for i in places])
        rows = [batch.images]
        if isinstance(subject.model, Reconstructor):
            rows.append(best_reconstruction(subject, batch)[0])
        blocks.append(strip(to_uint8(torch.cat(rows)).cpu(), len(places)))
    return blocks


def histograms(
    scores: Mapping[str, Scores], threshold: float, name: str, score: Score, auroc: float, width: int
) -> Figure:
    """Draw the scores of several sets over one another.

    Args:
        scores: by the sets' names; the first is drawn as an outline.
        threshold: drawn as a line.
        name: the threshold's.
        score: which score it is.
        auroc: for the title.
        width: of the picture, in pixels.

    Returns:
        The chart.
    """
    every = torch.cat([*scores.values()])
    low, high = float(every.min()), float(every.max())
    far = low > 0 and high > FAR * float(next(iter(scores.values())).median())
    edges = (np.geomspace if far else np.linspace)(low, high, BINS + 1)
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
    if far:
        axes.set_xscale("log")
    axes.set(xlabel=AXES[score], ylabel="share of images", title=f"AUROC {auroc:.4f}")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure
