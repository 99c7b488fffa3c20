"""What an anomaly score is tried on: normal test images, and images that are none of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lightning_gen.data import ImageData, datasets
from lightning_gen.errors import InputError
from lightning_gen.evaluation import UniformNoise
from lightning_gen.images import to_uint8
from lightning_gen.inspection.parts import Part, of_classes, whole, without_classes
from lightning_gen.inspection.subject import Subject
from lightning_gen.noise import image_generators
from lightning_gen.types import ImageSet, ImageShape, StoredImages

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
