"""The interface of the networks that turn stored images into feature vectors and class scores."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from lightning_gen.types import Images, StoredImages


class Features(NamedTuple):
    """Feature vectors, and logits where the extractor classifies."""

    vectors: Float[Tensor, "images features"]
    logits: Float[Tensor, "images classes"] | None = None


class Extractor(ABC):
    """A frozen network in eval mode that computes features of uint8 images.

    Attributes:
        name: the name by which it is requested, e.g. ``inception``.
        weights_hash: hash of the network's weights; equal names and hashes mean equal features.
        resizer: description of the resizing before the network.
        width: length of a feature vector.
        classes: the number of classes of the logits; 0 for an extractor without logits.
        own_classes: whether these are the classes of the dataset that is scored.
        accuracy: accuracy on held-out images in [0, 1]; None where it was not measured.
        takes_floats: whether :meth:`float_vectors` is defined.
    """

    name: str
    weights_hash: str
    resizer: str
    width: int
    classes: int = 0
    own_classes: bool = False
    accuracy: float | None = None
    takes_floats: bool = False

    @abstractmethod
    def __call__(self, images: StoredImages) -> Features:
        """Extract features.

        Args:
            images: uint8 images on any device, with one or three channels.

        Returns:
            float32 features on the CPU, one row per image.

        Raises:
            InputError: when the network does not accept images of that shape.
        """

    def float_vectors(self, images: Images) -> Float[Tensor, "images features"]:
        """Extract feature vectors of images that are not rounded to 256 levels; defined if ``takes_floats``.

        Args:
            images: images in [-1, 1] on any device, with one or three channels.

        Returns:
            float32 features on the extractor's device, one row per image.
        """
        raise NotImplementedError(f"{self.name} computes features of uint8 images")

    def notes(self, channels: int) -> list[str]:
        """Notes for the score card of images with this number of channels."""
        return []
