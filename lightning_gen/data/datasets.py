"""The datasets, one record each. Adding a dataset is a function that reads its splits, and a record in ``DATASETS``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torchvision.datasets import CIFAR10, MNIST, FashionMNIST

from lightning_gen.checks import check_choice
from lightning_gen.data.celeba import read_celeba
from lightning_gen.data.domains import images_of, read_domains, read_pairs
from lightning_gen.data.folder import read_folder
from lightning_gen.data.readers import read_digits, read_torchvision
from lightning_gen.data.splits import Domains, ReadOptions, Splits
from lightning_gen.data.stacking import STACKED_SIZES
from lightning_gen.errors import InputError

IDX_FILES = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (unpacked)"
)


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset that :class:`ImageData` can serve.

    Attributes:
        name: value of ``data.name``.
        read: reads the splits; raises :class:`InputError` for missing or damaged data.
        image_size: default height and width.
        channels: number of channels; None: 3 if any image has colour, else 1.
        num_classes: number of classes, 0 without labels; None: determined from the labels.
        files: the files that the dataset consists of, for messages.
        folder: their folder below ``data.root``, for messages.
        crop: side of the centred square that is cropped before resizing; None: the largest.
        padded: whether images are padded with black to ``image_size``, instead of enlarged.
        stacked: the number of images that ``read`` returns per image served (see :mod:`lightning_gen.data.stacking`).
        stacked_sizes: number of images per split, where ``stacked`` is above 1.
        root_is_dataset: whether ``data.root`` is the dataset itself, instead of a folder that contains it.
        read_domains: reads domains A and B, the second argument says whether partners are needed; None: the data has
            one domain. ``read`` then gives domain B.
        partners: whether the images of the two domains are partners in any case.
        summary: one line for ``lightning-gen list datasets``, which reads it from this file.
    """

    name: str
    read: Callable[[ReadOptions], Splits]
    image_size: int
    channels: int | None
    num_classes: int | None
    files: str = ""
    folder: str = ""
    crop: int | None = None
    padded: bool = False
    stacked: int = 1
    stacked_sizes: Mapping[str, int] | None = None
    root_is_dataset: bool = False
    read_domains: Callable[[ReadOptions, bool], Domains] | None = None
    partners: bool = False
    summary: str = ""

    def read_options(self, root: Path, *, download: bool, holdout: float) -> ReadOptions:
        """The arguments of ``read``.

        Args:
            root: value of ``data.root``.
            download: download missing data.
            holdout: fraction held out from training, for data without splits.

        Returns:
            The options.

        Raises:
            InputError: if the dataset is the root itself, and there is none.
        """
        if self.root_is_dataset and not root.exists():
            raise InputError(f"data.root is {root}, which does not exist; name a folder or .zip of images")
        return ReadOptions(root, download, holdout, f"{self.files} into {root / self.folder}")


_DIGITS = DatasetInfo(
    "digits",
    read_digits,
    image_size=16,
    channels=1,
    num_classes=10,
    summary="scikit-learn's handwritten digits: 1,797 grey images, 10 classes, no files needed",
)
_MNIST = DatasetInfo(
    "mnist",
    partial(read_torchvision, name="mnist", dataset=MNIST),
    image_size=32,
    channels=1,
    num_classes=10,
    files=IDX_FILES,
    folder="MNIST/raw",
    padded=True,
    summary="MNIST: 70,000 grey images of handwritten digits, 10 classes",
)
_FASHION_MNIST = replace(
    _MNIST,
    name="fashion_mnist",
    read=partial(read_torchvision, name="fashion_mnist", dataset=FashionMNIST),
    folder="FashionMNIST/raw",
    summary="Fashion-MNIST: 70,000 grey images of clothes, 10 classes",
)
_STACKED_MNIST = replace(
    _MNIST,
    name="stacked_mnist",
    channels=3,
    num_classes=1000,
    stacked=3,
    stacked_sizes=STACKED_SIZES,
    summary="three random digits of MNIST as the channels of a colour image, 1,000 classes",
)
_CIFAR10 = DatasetInfo(
    "cifar10",
    partial(read_torchvision, name="cifar10", dataset=CIFAR10),
    image_size=32,
    channels=3,
    num_classes=10,
    files="cifar-10-python.tar.gz, unpacked,",
    summary="CIFAR-10: 60,000 colour images of animals and vehicles, 10 classes",
)
_CELEBA = DatasetInfo(
    "celeba",
    read_celeba,
    image_size=64,
    channels=3,
    num_classes=0,
    files="img_align_celeba.zip (or its folder) and list_eval_partition.txt",
    folder="celeba",
    crop=148,
    summary="CelebA: 202,599 colour photographs of faces, no classes",
)
_FOLDER = DatasetInfo(
    "folder",
    read_folder,
    image_size=64,
    channels=None,
    num_classes=None,
    root_is_dataset=True,
    summary="the images of a folder or zip (--data.root); sub-folders are classes, or splits",
)
_PAIRS = DatasetInfo(
    "pairs",
    partial(images_of, read_pairs),
    image_size=256,
    channels=None,
    num_classes=0,
    root_is_dataset=True,
    read_domains=read_pairs,
    partners=True,
    summary="the pairs of a folder or zip (--data.root): inputs A and targets B",
)
_DOMAINS = replace(
    _PAIRS,
    name="domains",
    read=partial(images_of, read_domains),
    read_domains=read_domains,
    partners=False,
    summary="the two domains of a folder or zip (--data.root), A and B, without pairs",
)
_RECORDS = (_DIGITS, _MNIST, _FASHION_MNIST, _STACKED_MNIST, _CIFAR10, _CELEBA, _FOLDER, _PAIRS, _DOMAINS)
DATASETS = {record.name: record for record in _RECORDS}

if TYPE_CHECKING:
    DatasetName = str
else:
    DatasetName = Literal[tuple(DATASETS)]  # the choices of --data.name


def find_dataset(name: str) -> DatasetInfo:
    """Look up a dataset; an unknown name raises an :class:`InputError` that lists the valid ones."""
    check_choice(DATASETS, prefix="data.", name=name)
    return DATASETS[name]
