"""The styles w of a style-based generator, in batches and with the model's truncation."""

from typing import Literal

import torch

from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from lightning_gen.inspection.latents import with_class
from lightning_gen.inspection.subject import Subject
from lightning_gen.noise import image_generators
from lightning_gen.truncation import truncated_styles
from lightning_gen.types import Latents, StoredImages, StyleMapper, Styles

Space = Literal["z", "w"]
"""The latents z of any generator, or the styles w of a style-based one."""


def require_styles(subject: Subject) -> None:
    """Check that the model has styles (else ``InputError``)."""
    subject.require(StyleMapper, "has no styles w; use a style-based generator such as StyleGAN2")


def styles_of(subject: Subject, latents: Latents) -> Styles:
    """Map latents to truncated styles."""
    return torch.cat([truncated_styles(subject.model, part) for part in latents.split(subject.batch_size)])


def sample_styles(subject: Subject, first: int, num: int, label: int | None = None) -> Styles:
    """Truncated styles of the latents ``first`` to ``first + num`` of the prior.

    Args:
        subject: a ``StyleMapper``.
        first: index of the first latent.
        num: number of latents.
        label: the class of a conditional model; None: random classes.

    Returns:
        The styles.

    Raises:
        InputError: if the model is unconditional, or does not have the class.
    """
    latents = subject.model.sample_latents(num, generator=image_generators(subject.seed, range(first, first + num)))
    return styles_of(subject, with_class(subject, latents, label))


def decode_styles(subject: Subject, styles: Styles) -> StoredImages:
    """Decode styles to uint8 images on the CPU."""
    return torch.cat([to_uint8(subject.model.decode_styles(part)).cpu() for part in styles.split(subject.batch_size)])


def chosen_layers(subject: Subject, layers: list[int] | None, default: range) -> list[int]:
    """Check the indices of layers.

    Args:
        subject: a ``StyleMapper``.
        layers: indices from 0, the coarsest layer; None: ``default``.
        default: the default.

    Returns:
        The indices, sorted and without repetition.

    Raises:
        InputError: if there is none, or one is out of range.
    """
    if layers is None:
        return list(default)
    last = subject.model.num_styles - 1
    if not layers or not 0 <= min(layers) <= max(layers) <= last:
        raise InputError(f"--layers is {layers}; the layers of this model are 0 to {last}")
    return sorted({*layers})
