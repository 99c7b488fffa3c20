"""What is inspected: a trained model, and the data that it was trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.images import to_float
from lightning_gen.inspection.options import at_least
from lightning_gen.types import Batch, ImageSet


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
