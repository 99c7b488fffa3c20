"""The extractors by name."""

from pathlib import Path

import torch

from lightning_gen.distributed import scoring_group
from lightning_gen.errors import InputError
from lightning_gen.evaluation.classifier import Classifier, StackedClassifier, trained
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.evaluation.pretrained import PRETRAINED, Inception, Pretrained
from lightning_gen.types import ImageSet, StackedSet

EXTRACTORS = ("inception", "classifier", *PRETRAINED[1:])


def make_extractor(
    name: str,
    *,
    labelled: tuple[ImageSet, ImageSet] | None = None,
    inception_weights: Path | None = None,
    device: torch.device | str = "cpu",
) -> Extractor:
    """Make the extractor of a name; in a distributed run every rank must take part.

    Rank 0 downloads or trains while the others wait; they then read what it left, or get its weights.

    Args:
        name: out of ``EXTRACTORS``.
        labelled: train and test images of the dataset, which ``classifier`` learns from; where these are several
            images stacked in the channels of one, it learns from those.
        inception_weights: file of torch-fidelity's Inception weights, for ``inception``; downloaded when None.
        device: where the extractor runs.

    Returns:
        The extractor.

    Raises:
        InputError: when the name is unknown, there are no labelled images to learn from, or the weights are missing,
            damaged or not what they should be.
    """
    if name not in EXTRACTORS:
        raise InputError(f"unknown features {name!r}; choose from {', '.join(EXTRACTORS)}")
    if name == "classifier" and labelled is None:
        raise InputError("the classifier learns from a labelled dataset; name one, or use inception")
    with scoring_group() as together:
        if name == "classifier" and labelled is not None:
            train, test = labelled
            if isinstance(train, StackedSet) and isinstance(test, StackedSet):
                parts = train.parts, test.parts
                return StackedClassifier(
                    Classifier(together.on_first_rank(lambda: trained(*parts)), device), train.stacked
                )
            return Classifier(together.on_first_rank(lambda: trained(train, test)), device)

        def load() -> Extractor:
            return Inception(inception_weights, device) if name == "inception" else Pretrained(name, device)

        loaded: list[Extractor] = []
        together.on_first_rank(lambda: loaded.append(load()))
        return loaded[0] if loaded else load()
