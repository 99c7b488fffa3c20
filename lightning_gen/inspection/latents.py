"""Latents of many images and images of many latents, a batch at a time; and the classes in latents.

The latents of a conditional model end in its class, a one-hot vector of ``num_classes`` entries.
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


class Codes(NamedTuple):
    """Latents of images and, where there are such, the images' classes; on the model's device."""

    latents: Latents
    labels: Labels | None


def encode(subject: Subject, batch: Batch) -> Latents:
    """Encode one batch.

    Args:
        subject: an ``Encoder`` and data.
        batch: images in [-1, 1] and their classes.

    Returns:
        Their latents ``(batch, *latent)``.
    """
    return subject.model.encode(batch.images, labels=batch.labels)


def encode_split(subject: Subject, split: str, num: int) -> Codes:
    """Encode images that lie evenly over a split, so that a set in the order of its classes gives some of each.

    Args:
        subject: an ``Encoder`` and data.
        split: ``train``, ``val`` or ``test``.
        num: how many images, at most.

    Returns:
        Their latents and classes.

    Raises:
        InputError: when there are not two images, or a latent is not finite.
    """
    part = whole(subject.data.image_set(split)).at_most(num)
    if len(part.chosen) < 2:
        raise InputError(f"{part.name} has 1 image, and this looks at how several differ; take another --split")
    batches = list(subject.batches(part.images, part.chosen))
    labels = [batch.labels for batch in batches if batch.labels is not None]
    latents = torch.cat([encode(subject, batch) for batch in batches])
    if broken := int((~latents.isfinite().flatten(1).all(1)).sum()):
        raise InputError(f"the latents of {broken} of {len(latents)} images of {split} are not finite numbers")
    return Codes(latents, torch.cat(labels) if labels else None)


def decode(subject: Subject, latents: Latents) -> StoredImages:
    """Decode any number of latents.

    Args:
        subject: a ``Decoder``.
        latents: ``(num, *latent)``.

    Returns:
        Their images as uint8 on the CPU.
    """
    return torch.cat([to_uint8(subject.model.decode(part)).cpu() for part in latents.split(subject.batch_size)])


def noise_of(subject: Subject, latents: Latents) -> Noise:
    """The latents without their classes.

    Args:
        subject: the model.
        latents: ``(batch, *latent)``.

    Returns:
        Each as one vector.
    """
    flat = latents.flatten(1)
    return flat[:, : flat.shape[1] - subject.model.num_classes]


def with_class(subject: Subject, latents: Latents, label: int | None) -> Latents:
    """Put a class into latents.

    Args:
        subject: the model.
        latents: ``(batch, latent)``.
        label: the class; None leaves the latents as they are.

    Returns:
        Latents of the same shape.

    Raises:
        InputError: when the model does not know the class.
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
    """The mean of the standard normal prior: zeros and, in a conditional model, its first class.

    Args:
        subject: a ``LatentGenerator``.

    Returns:
        Latents ``(1, *latent)``.
    """
    zeros = torch.zeros_like(subject.model.sample_latents(1))
    return with_class(subject, zeros, 0) if subject.model.num_classes else zeros
