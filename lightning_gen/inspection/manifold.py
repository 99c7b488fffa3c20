"""The images of a two-dimensional latent space."""

import torch

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.images import grid
from lightning_gen.inspection.findings import Findings, enlarged
from lightning_gen.inspection.latents import decode, prior_mean, with_class, without_class
from lightning_gen.inspection.subject import Subject
from lightning_gen.types import LatentGenerator

PICTURE_SIDE = 640
"""Approximate side of the picture in pixels, for small images."""


def manifold(subject: Subject, side: int = 20, label: int | None = None) -> Findings:
    """Decode the latents z = (Phi^-1(u), Phi^-1(v)) of a regular grid of (u, v) in the unit square.

    Phi is the standard normal distribution function, so that every image covers the same probability mass of the prior
    (Kingma and Welling 2014, https://arxiv.org/abs/1312.6114, figure 4).

    Args:
        subject: model and data.
        side: number of rows and columns; u and v are 1/2, 3/2, 5/2 ... divided by it.
        label: the class of a conditional model (default: 0).

    Returns:
        The images, with z1 increasing to the right and z2 upwards, and the values of both.

    Raises:
        InputError: if the latents have no prior, or are not two-dimensional.
    """
    check_at_least(1, prefix="--", side=side)
    subject.require(LatentGenerator, "has no prior over its latents, and manifold needs one")
    mean = with_class(subject, prior_mean(subject), label)
    if (dims := without_class(subject, mean).shape[1]) != 2:
        raise InputError(
            f"manifold needs 2 latents, this model has {dims}; train an autoencoder or a GAN with "
            "--model.latent_dim 2, or use traverse"
        )
    values = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side).float().to(mean.device)
    up, right = torch.meshgrid(values.flip(0), values, indexing="ij")
    noise = torch.stack([right, up], -1).flatten(0, 1)  # (side^2, 2)
    images = decode(subject, torch.cat([noise, mean[:, 2:].expand(len(noise), -1)], 1))
    picture = grid(enlarged(images, PICTURE_SIDE // side), side)
    return Findings(picture, {"side": side, "values": values.tolist()})
