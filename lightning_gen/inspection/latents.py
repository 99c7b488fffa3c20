"""Encoding and decoding in batches, and the classes in the latents of conditional models.

The latents of a conditional model end in the class, a one-hot vector of ``num_classes`` entries.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from lightning_gen.inspection.subject import Subject, whole
from lightning_gen.types import Batch, Labels, Latents, StoredImages

Noise = Float[Tensor, "batch dims"]


class Encoded(NamedTuple):
    """Latents of images and the images' labels, if any, on the model's device."""

    latents: Latents
    labels: Labels | None


def encode(subject: Subject, batch: Batch) -> Latents:
    """Latents ``(batch, *latent)`` of a batch."""
    return subject.model.encode(batch.images, labels=batch.labels)


def encode_split(subject: Subject, split: str, num: int) -> Encoded:
    """Encode evenly spaced images of a split.

    Args:
        subject: an ``Encoder`` and data.
        split: ``train``, ``val`` or ``test``.
        num: maximum number of images.

    Returns:
        The latents and labels.

    Raises:
        InputError: if there are fewer than two images, or a latent is not finite.
    """
    part = whole(subject.data.image_set(split)).at_most(num)
    if len(part.indices) < 2:
        raise InputError(f"{part.name} has 1 image, and at least 2 are needed; use another --split")
    batches = list(subject.batches(part.images, part.indices))
    labels = [batch.labels for batch in batches if batch.labels is not None]
    latents = torch.cat([encode(subject, batch) for batch in batches])
    if num_invalid := int((~latents.isfinite().flatten(1).all(1)).sum()):
        raise InputError(f"the latents of {num_invalid} of {len(latents)} images of {split} are not finite numbers")
    return Encoded(latents, torch.cat(labels) if labels else None)


def decode(subject: Subject, latents: Latents) -> StoredImages:
    """Decode latents ``(num, *latent)`` in batches, to uint8 images on the CPU."""
    return torch.cat([to_uint8(subject.model.decode(part)).cpu() for part in latents.split(subject.batch_size)])


def without_class(subject: Subject, latents: Latents) -> Noise:
    """Latents flattened to vectors, without the class of a conditional model."""
    flat = latents.flatten(1)
    return flat[:, : flat.shape[1] - subject.model.num_classes]


def with_class(subject: Subject, latents: Latents, label: int | None) -> Latents:
    """Set the class in latents.

    Args:
        subject: the model.
        latents: ``(batch, latent)``.
        label: the class; None leaves the latents unchanged.

    Returns:
        Latents of the same shape.

    Raises:
        InputError: if the model is unconditional, or does not have the class.
    """
    num_classes = subject.model.num_classes
    if label is None:
        return latents
    if not num_classes:
        raise InputError(f"--label is {label}, and {subject.name} is not conditional; leave it out")
    if not 0 <= label < num_classes:
        raise InputError(f"--label is {label}; the classes of this model are 0 to {num_classes - 1}")
    classes = torch.nn.functional.one_hot(torch.tensor(label), num_classes).to(latents)
    return torch.cat([latents[:, :-num_classes], classes.expand(len(latents), -1)], 1)


def prior_mean(subject: Subject) -> Latents:
    """The mean ``(1, *latent)`` of the standard normal prior: zeros, with class 0 for a conditional model."""
    zeros = torch.zeros_like(subject.model.sample_latents(1))
    return with_class(subject, zeros, 0) if subject.model.num_classes else zeros
