"""Parts of image sets: some classes, or so many images evenly spaced."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from lightning_gen.types import ImageSet


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
