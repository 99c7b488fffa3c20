"""Batches of loaders that know nothing of this package: tensors and (x, y) pairs become a :class:`Batch`.

A ``DataLoader`` of ``TensorDataset``, of torchvision's datasets or of a user's own yields images, or pairs of images
and labels; for a model that makes images from images, pairs of inputs and images.
"""

import warnings
from typing import Any, cast

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.images import to_float
from lightning_gen.types import Batch, Images, ImageShape, Labels, Translator

TOLERANCE = 1e-3
"""How far a value may lie outside [-1, 1], by rounding in 16 bits or in a resizing filter."""
FORMS = "a loader yields images, or pairs (images, labels)"
PAIRED_FORMS = "a loader yields pairs (inputs, images)"
HOOK_WARNING = ".*You have overridden `on_before_batch_transfer` in `LightningModule`"
"""Lightning's warning about a hook of the model beside a data module, whose named tuples the hook does not change."""
warnings.filterwarnings("ignore", HOOK_WARNING)


class PlainBatches:
    """Mixin of a ``GenerativeModule``: converts the batches of plain loaders before they are moved to the device."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Convert a tensor, a tuple or a list to a :class:`Batch`; the named tuples of a data module stay as they are.

        Args:
            batch: what the loader yields.
            dataloader_idx: index of the loader.

        Returns:
            The batch.

        Raises:
            InputError: if it is neither, or a shape, a dtype or a value does not fit the model.
        """
        if hasattr(batch, "_fields"):
            return batch
        model = cast(Any, self)
        converted = to_batch(batch, model)
        if model.batches_seen == 0 and float(converted.images.min()) >= 0:
            rank_zero_warn(
                "no pixel of the first batch is below 0: images are in [-1, 1], so scale those in [0, 1] by 2 x - 1"
            )
        return model.trainer.precision_plugin.convert_input(converted)


def to_batch(batch: Any, model: Any) -> Batch:
    """Convert what a plain loader yields to a batch.

    Args:
        batch: images; or a sequence of images, or of images and labels, or, for a :class:`Translator`, of inputs and
            images. Images are uint8, or floats in [-1, 1].
        model: the model, which has an ``image_shape`` and, if it is conditional, a ``num_classes`` above 0. Other
            models ignore labels.

    Returns:
        The batch, with float32 images.

    Raises:
        InputError: if the batch has another form, or a shape, a dtype or a value does not fit the model.
    """
    name, translates = type(model).__name__, isinstance(model, Translator)
    forms = PAIRED_FORMS if translates else FORMS
    parts = [batch] if isinstance(batch, Tensor) else batch
    if not isinstance(parts, list | tuple) or not all(isinstance(part, Tensor) for part in parts):
        raise InputError(f"a batch is {describe(batch)}; for {name}, {forms}, each a tensor")
    if not 1 + translates <= len(parts) <= 2:
        raise InputError(f"a batch has {len(parts)} tensors; for {name}, {forms}")
    if translates:
        inputs = to_images("inputs", parts[0], model.input_shape)
        images = to_images("images", parts[1], model.image_shape)
        if model.needs_pairs and len(inputs) != len(images):
            raise InputError(f"a batch has {len(inputs)} inputs and {len(images)} images; {name} is trained on pairs")
        return Batch(images, inputs=inputs)
    images = to_images("images", parts[0], model.image_shape)
    if len(parts) == 2 and parts[1].ndim > 2:
        raise InputError(f"a batch has labels of shape {tuple(parts[1].shape)}; for {name}, {forms}")
    if not model.num_classes:
        return Batch(images)
    if len(parts) == 1:
        raise InputError(f"{name} learns from labels, and the batch has none; {FORMS}")
    return Batch(images, to_labels(parts[1], len(images), model.num_classes))


def to_images(role: str, images: Tensor, shape: ImageShape) -> Images:
    """Check images and convert them to float32 in [-1, 1].

    Args:
        role: ``images`` or ``inputs``, for the messages.
        images: uint8, or floating-point numbers in [-1, 1].
        shape: (channels, height, width) that the model was built for.

    Returns:
        The images.

    Raises:
        InputError: if they do not fit.
    """
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(shape) or len(images) == 0:
        raise InputError(f"a batch has {role} of shape {tuple(images.shape)}; the model takes (batch, {join(shape)})")
    if images.dtype == torch.uint8:
        return to_float(images)
    if not images.is_floating_point():
        raise InputError(f"a batch has {role} of {images.dtype}; they are uint8, or floats in [-1, 1]")
    low, high = (float(value) for value in images.aminmax())
    if not -1 - TOLERANCE <= low <= high <= 1 + TOLERANCE:  # also where a value is NaN
        raise InputError(f"a batch has {role} from {low:.4g} to {high:.4g}; floats are in [-1, 1], or use uint8")
    return images.float()


def to_labels(labels: Tensor, num: int, num_classes: int) -> Labels:
    """Check labels and convert them to int64.

    Args:
        labels: whole numbers in [0, num_classes).
        num: number of images.
        num_classes: number of classes.

    Returns:
        The labels.

    Raises:
        InputError: if they do not fit.
    """
    if tuple(labels.shape) != (num,):
        raise InputError(f"a batch has labels of shape {tuple(labels.shape)}; one per image is ({num},)")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"a batch has labels of {labels.dtype}; they are whole numbers from 0 to {num_classes - 1}")
    labels = labels.long()
    if not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise InputError(
            f"a batch has labels from {int(labels.min())} to {int(labels.max())}; the classes are 0 to "
            f"{num_classes - 1}"
        )
    return labels


def describe(batch: Any) -> str:
    """The type of a batch that has an unknown form."""
    if isinstance(batch, list | tuple):
        return f"a {type(batch).__name__} of {', '.join(type(part).__name__ for part in batch[:4])}"
    return f"a {type(batch).__name__}"


def join(shape: ImageShape) -> str:
    """A shape without brackets."""
    return ", ".join(map(str, shape))
