"""What is inspected: a trained model, and the data that it was trained on."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.images import to_float
from lightning_gen.types import Batch, ImageSet


def at_least(least: int, **options: int) -> None:
    """Refuse options that are too small.

    Args:
        least: the smallest value that is of use.
        **options: values by name.

    Raises:
        InputError: naming the first that is smaller.
    """
    for name, value in options.items():
        if value < least:
            raise InputError(f"--{name} is {value}; it must be at least {least}")


class Part(NamedTuple):
    """Some images of a set, and what to call them."""

    name: str
    images: ImageSet
    chosen: Sequence[int]

    def at_most(self, num: int) -> "Part":
        """At most so many of them, evenly spaced: the first ones may all be of one class, as in a folder."""
        length = len(self.chosen)
        kept = min(num, length)
        return self._replace(chosen=[self.chosen[i * length // kept] for i in range(kept)])


def whole(images: ImageSet) -> Part:
    """All images of a set."""
    return Part(images.name, images, range(len(images)))


def of_classes(images: ImageSet, classes: Collection[int]) -> Part:
    """The images of some classes of a labelled set."""
    return _chosen(images, classes, "of", True)


def without_classes(images: ImageSet, classes: Collection[int]) -> Part:
    """The images of all other classes; the whole set where none are named."""
    return _chosen(images, classes, "without", False) if classes else whole(images)


def _chosen(images: ImageSet, classes: Collection[int], word: str, wanted: bool) -> Part:
    assert images.labels is not None
    listed = sorted(classes)
    name = f"{images.name} {word} class {', '.join(map(str, listed))}"
    return Part(name, images, np.flatnonzero(np.isin(images.labels, listed) == wanted).tolist())


@dataclass(frozen=True)
class Subject:
    """A trained model and its data.

    Attributes:
        model: a :class:`GenerativeModule`, in eval mode and on its device.
        data: the data module of its training.
        seed: of whatever an inspection draws.
        batch_size: images that pass through the model at once.
    """

    model: Any
    data: ImageData
    seed: int = 0
    batch_size: int = 256

    @property
    def name(self) -> str:
        """The model's class, for messages."""
        return type(self.model).__name__

    def batch(self, images: ImageSet, index: slice | Sequence[int]) -> Batch:
        """Gather some images of a set, on the model's device.

        Args:
            images: the set.
            index: which.

        Returns:
            Images in [-1, 1] and, where the set has them, their classes.
        """
        chosen = np.arange(len(images))[index] if isinstance(index, slice) else np.asarray(index, dtype=np.int64)
        labels = None if images.labels is None else torch.from_numpy(images.labels[chosen]).to(self.model.device)
        return Batch(to_float(images[chosen].to(self.model.device)), labels)

    def first(self, split: str, num: int) -> Batch:
        """The first images of a split.

        Args:
            split: ``train``, ``val`` or ``test``.
            num: how many, at most.

        Returns:
            The batch.

        Raises:
            InputError: when the number is not positive.
        """
        at_least(1, num=num)
        return self.batch(self.data.image_set(split), slice(num))

    def batches(self, images: ImageSet, chosen: Sequence[int]) -> Iterator[Batch]:
        """Gather many images of a set, a batch after the other.

        Args:
            images: the set.
            chosen: the images' numbers.

        Yields:
            Batches of at most ``batch_size``, in the order asked for.
        """
        for start in range(0, len(chosen), self.batch_size):
            yield self.batch(images, chosen[start : start + self.batch_size])

    def need(self, capability: type, does: str) -> None:
        """Refuse a model that lacks a capability.

        Args:
            capability: a protocol of ``types.py``.
            does: what it cannot do, e.g. ``"encodes no images"``.

        Raises:
            InputError: naming the model.
        """
        if not isinstance(self.model, capability):
            raise InputError(f"{self.name} {does}")
