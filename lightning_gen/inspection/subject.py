"""The subject of an inspection: a trained model and the data that it was trained on."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from lightning_gen.checks import check_at_least
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.images import to_float
from lightning_gen.types import Batch, ImageSet


class Subset(NamedTuple):
    """A named subset of an image set."""

    name: str
    images: ImageSet
    indices: Sequence[int]

    def at_most(self, num: int) -> "Subset":
        """At most ``num`` of the images, evenly spaced, because a set may be sorted by class."""
        length = len(self.indices)
        kept = min(num, length)
        return self._replace(indices=[self.indices[i * length // kept] for i in range(kept)])


def whole(images: ImageSet) -> Subset:
    """All images of a set."""
    return Subset(images.name, images, range(len(images)))


def of_classes(images: ImageSet, classes: Collection[int]) -> Subset:
    """The images of some classes of a labelled set."""
    return _by_class(images, classes, "of", True)


def without_classes(images: ImageSet, classes: Collection[int]) -> Subset:
    """The images of all other classes; the whole set if ``classes`` is empty."""
    return _by_class(images, classes, "without", False) if classes else whole(images)


def _by_class(images: ImageSet, classes: Collection[int], word: str, include: bool) -> Subset:
    assert images.labels is not None
    listed = sorted(classes)
    name = f"{images.name} {word} class {', '.join(map(str, listed))}"
    return Subset(name, images, np.flatnonzero(np.isin(images.labels, listed) == include).tolist())


@dataclass(frozen=True)
class Subject:
    """A trained model and its data.

    Attributes:
        model: a :class:`GenerativeModule` in eval mode, on its device.
        data: the data module that it was trained with.
        seed: seed of everything that is sampled.
        batch_size: number of images per forward pass.
    """

    model: Any
    data: ImageData
    seed: int = 0
    batch_size: int = 256

    @property
    def name(self) -> str:
        """Name of the model's class, for messages."""
        return type(self.model).__name__

    def batch(self, images: ImageSet, index: slice | Sequence[int]) -> Batch:
        """Gather images of a set and their labels, if any, on the model's device."""
        chosen = np.arange(len(images))[index] if isinstance(index, slice) else np.asarray(index, dtype=np.int64)
        labels = None if images.labels is None else torch.from_numpy(images.labels[chosen]).to(self.model.device)
        return Batch(to_float(images[chosen].to(self.model.device)), labels)

    def first(self, split: str, num: int) -> Batch:
        """The first images of a split, at most ``num``; ``InputError`` if ``num`` is below 1."""
        check_at_least(1, prefix="--", num=num)
        return self.batch(self.data.image_set(split), slice(num))

    def batches(self, images: ImageSet, indices: Sequence[int]) -> Iterator[Batch]:
        """Gather images of a set in batches of at most ``batch_size``.

        Args:
            images: the set.
            indices: indices of the images.

        Yields:
            The batches, in the order of the indices.
        """
        for start in range(0, len(indices), self.batch_size):
            yield self.batch(images, indices[start : start + self.batch_size])

    def require(self, capability: type, message: str) -> None:
        """Check that the model has a capability.

        Args:
            capability: a protocol of ``types.py``.
            message: continues "the model ...", such as ``"encodes no images"``.

        Raises:
            InputError: if the model does not have it.
        """
        if not isinstance(self.model, capability):
            raise InputError(f"{self.name} {message}")
