"""What scores images: a network that turns stored images into feature vectors and, where it classifies, logits."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from lightning_gen.types import StoredImages


class Features(NamedTuple):
    """What an extractor sees in images: the vectors that FID, KID and PRC compare, and the logits that IS needs."""

    vectors: Float[Tensor, "images features"]
    logits: Float[Tensor, "images classes"] | None = None


class Extractor(ABC):
    """Turns uint8 images into features; a frozen network in eval mode that takes no part in any training.

    Attributes:
        name: as asked for, e.g. ``inception``.
        weights_hash: hash of the network's weights; two extractors with one name and hash see the same.
        resizer: what resizing is done to the images before the network, in words.
        width: length of a feature vector.
        classes: how many classes its logits tell apart; 0 where it has no logits, so that IS is undefined.
        own_classes: whether these are the classes of the dataset that is scored, so that ``modes`` may count them.
        accuracy: the share of test images that it classifies right, where that was measured.
    """

    name: str
    weights_hash: str
    resizer: str
    width: int
    classes: int = 0
    own_classes: bool = False
    accuracy: float | None = None

    @abstractmethod
    def __call__(self, images: StoredImages) -> Features:
        """Extract features.

        Args:
            images: uint8 images on any device, one or three channels.

        Returns:
            float32 features on the CPU, row i those of image i.

        Raises:
            InputError: when the network cannot see images of that shape.
        """

    def notes(self, channels: int) -> list[str]:
        """What a reader of the score should know about images with so many channels.

        Args:
            channels: of the images scored.

        Returns:
            Sentences for the score card.
        """
        return []


def hash_weights(state: Mapping[str, Tensor]) -> str:
    """Hash names, shapes and values of a network's tensors.

    Args:
        state: the network's state dict.

    Returns:
        The first 16 hexadecimal digits of the SHA-256.
    """
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().numpy().tobytes())
    return digest.hexdigest()[:16]
