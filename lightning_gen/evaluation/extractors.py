"""The extractors by name."""

from pathlib import Path

import torch

from lightning_gen.distributed import scoring_group
from lightning_gen.errors import InputError
from lightning_gen.evaluation.classifier import Classifier, StackedClassifier, trained_classifier
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.evaluation.pretrained import PRETRAINED, Inception, Pretrained
from lightning_gen.types import ImageSet, ImageSource, StackedSet

EXTRACTORS = ("inception", "classifier", *PRETRAINED[1:])


def classifier_splits(source: ImageSource) -> tuple[ImageSet, ImageSet]:
    """The splits of a dataset that the extractor ``classifier`` is trained on and tested on: train and val.

    Unlike the test split, both lack the classes that training left out.
    """
    return source.image_set("train"), source.image_set("val")


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
        InputError: when the name is unknown, there are no labelled images, or the weights are missing, damaged or of
            another network.
    """
    if name not in EXTRACTORS:
        raise InputError(f"unknown features {name!r}; choose from {', '.join(EXTRACTORS)}")
    if name == "classifier" and labelled is None:
        raise InputError("the classifier learns from a labelled dataset; name one, or use inception")
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
