"""Image sets that are computed from others when they are read."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

from lightning_gen.data.degradation import DegradedImages
from lightning_gen.data.inputs import InputKind
from lightning_gen.data.sources import IndexArray
from lightning_gen.types import ImageSet, StoredImages


@dataclass
class MappedImages:
    """The images of a set after a function of each image; nothing is stored.

    Attributes:
        name: dataset and split.
        key: hash of the function's name and options and of the base's key.
        labels: the base's labels.
        base: the set that is read.
        function: maps a batch of stored images to as many, each a function of its own image; can be pickled.
    """

    name: str
    key: str
    labels: IndexArray | None
    base: ImageSet
    function: Callable[[StoredImages], StoredImages]

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: slice | IndexArray) -> StoredImages:
        return self.function(self.base[index])


def map_images(base: ImageSet, function: Callable[[StoredImages], StoredImages], suffix: str) -> MappedImages:
    """Apply a function to an image set.

    Args:
        base: the images.
        function: maps stored images; see :class:`MappedImages`.
        suffix: names the function and its options, such as ``grey``; it is put behind the dataset's name.

    Returns:
        The image set.
    """
    return MappedImages(mapped_name(base.name, suffix), mapped_key(base.key, suffix), base.labels, base, function)


def derived_set(kind: InputKind, images: ImageSet, scale: int) -> ImageSet:
    """The inputs of a kind that are computed from an image set, when they are read.

    Args:
        kind: how inputs are computed.
        images: the images.
        scale: number of times that the inputs are smaller, for a kind that has a scale.

    Returns:
        The inputs, with the labels of their images.
    """
    suffix = f"{kind.name}{scale}" if kind.scaled else kind.name
    if kind.function is None:
        name, key = mapped_name(images.name, suffix), mapped_key(images.key, suffix)
        return DegradedImages(name, key, images.labels, images, scale)
    return map_images(images, partial(kind.derive_stored, scale=scale), suffix)


def mapped_name(name: str, suffix: str) -> str:
    """Put a suffix between a dataset's name and the split: ``mnist/train`` becomes ``mnist-grey/train``."""
    dataset, split = name.rsplit("/", 1)
    return f"{dataset}-{suffix}/{split}"


def mapped_key(key: str, suffix: str) -> str:
    """Key of a set that is computed from the set with another key."""
    return blake2b(f"{suffix} {key}".encode(), digest_size=16).hexdigest()
