"""Reads scikit-learn's digits and torchvision's datasets."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torchvision.datasets import CIFAR10, MNIST

from lightning_gen.data.sources import ArraySource
from lightning_gen.data.splits import ReadOptions, Splits, train_test_splits
from lightning_gen.errors import InputError

NUM_CLASSES = 10
"""The number of classes of MNIST, Fashion-MNIST and CIFAR-10."""


def read_digits(options: ReadOptions) -> Splits:
    """Read scikit-learn's digits, with a stratified test set of 360 images."""
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=360, stratify=labels, random_state=0
    )
    return train_test_splits(
        ArraySource("digits/train", train_images, train_labels), ArraySource("digits/test", test_images, test_labels)
    )


def read_torchvision(options: ReadOptions, *, name: str, dataset: Callable[..., MNIST | CIFAR10]) -> Splits:
    """Read a dataset of torchvision that keeps its images in memory.

    Args:
        options: where the data is.
        name: the name of the sources.
        dataset: the class in ``torchvision.datasets``.

    Returns:
        The splits.

    Raises:
        InputError: when the data is missing or damaged, or the download fails.
    """
    root = options.root
    if options.download:
        download(name, lambda: dataset(root, download=True), options)
    sources = []
    for split in ("train", "test"):
        try:
            data = dataset(root, train=split == "train")
            images, labels = np.asarray(data.data), np.asarray(data.targets, dtype=np.int64)
            check_arrays(images, labels, NUM_CLASSES)
        except Exception as error:  # torchvision's parsers raise many types for truncated files
            reason = "" if "download=True" in str(error) else f" ({error})"  # an argument in Python, and no option
            raise InputError(f"{name} is missing or damaged under {root}{reason}; {options.missing_help}") from None
        sources.append(ArraySource(f"{name}/{split}", images, labels))
    return train_test_splits(*sources)


def check_arrays(images: npt.NDArray[np.generic], labels: npt.NDArray[np.int64], num_classes: int) -> None:
    """Check the arrays of a dataset, whose files torchvision reads without comparing them.

    Args:
        images: images.
        labels: the class of each image.
        num_classes: number of classes.

    Raises:
        ValueError: for images that are not 8-bit grey or RGB images, another number of labels, and other labels.
    """
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)):
        raise ValueError(f"its images are an array of {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1] or not len(labels):
        raise ValueError(f"it has {len(images):,} images and {labels.size:,} labels")
    if not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"its labels are {labels.min()} to {labels.max()}, and it has {num_classes} classes")


def download(name: str, fetch: Callable[[], object], options: ReadOptions) -> None:
    """Download a dataset.

    Args:
        name: the dataset, for messages.
        fetch: downloads it.
        options: where the data is.

    Raises:
        InputError: when the download fails, with the files to download by hand.
    """
    try:
        fetch()
    except Exception as error:  # no network, an exceeded quota, a missing downloader ...
        lines = str(error).strip().splitlines()
        raise InputError(
            f"{name} could not be downloaded ({lines[0] if lines else type(error).__name__}); download it by hand and "
            f"put {options.files_help}"
        ) from None
