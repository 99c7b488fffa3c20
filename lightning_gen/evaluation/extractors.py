"""The extractors by name."""

from pathlib import Path

import numpy as np
import torch

from lightning_gen.distributed import scoring_group
from lightning_gen.errors import InputError
from lightning_gen.evaluation.classifier import Classifier, StackedClassifier, classifier_path, trained_classifier
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.evaluation.pretrained import PRETRAINED, Inception, Pretrained, inception_is_local
from lightning_gen.networks.efficientnet import EFFICIENTNET, INSTALL, is_installed
from lightning_gen.types import ImageSet, ImageSource, StackedSet

EXTRACTORS = ("inception", "classifier", *PRETRAINED[1:])
AUTO = "auto"
"""In place of an extractor's name: the extractor that :func:`choose_extractor` returns."""
MIN_IMAGES_PER_CLASS = 20
"""The smallest mean number of training images per class for which ``auto`` chooses ``classifier``."""
NO_EXTRACTOR = (
    f"no extractor is available without a download: install {EFFICIENTNET} with {INSTALL}, name a file of Inception's "
    "weights with inception_weights, or choose inception, which downloads them"
)
"""The message where :func:`choose_extractor` returns None."""


def classifier_splits(source: ImageSource) -> tuple[ImageSet, ImageSet]:
    """The splits of a dataset that the extractor ``classifier`` is trained on and tested on: train and val.

    Unlike the test split, both lack the classes that training left out.
    """
    return source.image_set("train"), source.image_set("val")


def classifier_file(source: ImageSource) -> Path:
    """Train the classifier of a dataset unless it is in the cache, and return the file of its weights.

    Args:
        source: the dataset.

    Returns:
        The path.

    Raises:
        InputError: when the dataset has no labels.
    """
    splits = classifier_splits(source)
    trained_classifier(*splits)
    return classifier_path(*splits)


def choose_extractor(train: ImageSet | None, inception_weights: Path | None = None) -> str | None:
    """Choose the extractor for a dataset, without a download; in a distributed run every rank must call this function.

    The first of these that is available, on rank 0:

    1. ``classifier``, for training images of at least two classes and at least ``MIN_IMAGES_PER_CLASS`` images per
       class on average;
    2. ``inception``, if its weights are given or in torch's cache;
    3. ``efficientnet_lite0``, if its packages are installed.

    Args:
        train: the images that the classifier would be trained on; None: there are none.
        inception_weights: file of torch-fidelity's Inception weights.

    Returns:
        One of ``EXTRACTORS``; None if none of the three is available (see ``NO_EXTRACTOR``).
    """

    def choose() -> str | None:
        if train is not None and has_enough_labels(train):
            return "classifier"
        if inception_is_local(inception_weights):
            return "inception"
        return EFFICIENTNET if is_installed() else None

    with scoring_group() as group:
        return group.on_first_rank(choose)


def has_enough_labels(train: ImageSet) -> bool:
    """Whether a classifier can be trained on these images (for stacked images, on their parts)."""
    parts = train.parts if isinstance(train, StackedSet) else train
    if parts.labels is None or len(parts) == 0 or parts.labels.min() < 0:
        return False
    num_classes = len(np.unique(parts.labels))
    return num_classes > 1 and len(parts) >= MIN_IMAGES_PER_CLASS * num_classes


def make_extractor(
    name: str,
    *,
    labelled: tuple[ImageSet, ImageSet] | None = None,
    inception_weights: Path | None = None,
    device: torch.device | str = "cpu",
) -> Extractor:
    """Create an extractor; in a distributed run every rank must call this function.

    Rank 0 downloads or trains the network while the others wait. They then read its files or receive its weights.

    Args:
        name: one of ``EXTRACTORS``.
        labelled: images to train and to test ``classifier`` with, see :func:`classifier_splits`. For stacked images
            (:class:`StackedSet`) the classifier is trained on their parts.
        inception_weights: file of torch-fidelity's Inception weights; downloaded when None.
        device: device of the network.

    Returns:
        The extractor.

    Raises:
        InputError: when the name is unknown, there are no labelled images, a package is not installed, or the weights
            are missing, damaged or of another network.
    """
    if name not in EXTRACTORS:
        raise InputError(f"unknown features {name!r}; choose from {', '.join(EXTRACTORS)}")
    if name == "classifier" and labelled is None:
        raise InputError(f"the classifier learns from a labelled dataset; name one, or use inception or {EFFICIENTNET}")
    with scoring_group() as group:
        if name == "classifier" and labelled is not None:
            train, test = labelled
            if isinstance(train, StackedSet) and isinstance(test, StackedSet):
                parts = train.parts, test.parts
                arrays = group.on_first_rank(lambda: trained_classifier(*parts))
                return StackedClassifier(Classifier(arrays, device), train.stacked)
            return Classifier(group.on_first_rank(lambda: trained_classifier(train, test)), device)

        def load() -> Extractor:
            return Inception(inception_weights, device) if name == "inception" else Pretrained(name, device)

        loaded: list[Extractor] = []
        group.on_first_rank(lambda: loaded.append(load()))
        return loaded[0] if loaded else load()
