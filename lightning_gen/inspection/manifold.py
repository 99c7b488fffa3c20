"""A latent space of two dimensions, decoded all over."""

import torch

from lightning_gen.errors import InputError
from lightning_gen.images import grid
from lightning_gen.inspection.findings import Findings, enlarged
from lightning_gen.inspection.latents import decode, noise_of, prior_mean, with_class
from lightning_gen.inspection.subject import Subject, at_least
from lightning_gen.types import LatentGenerator

PICTURE = 640
"""Pixels of the picture's side, about, where the images are small."""


def manifold(subject: Subject, side: int = 20, label: int | None = None) -> Findings:
    """Decode the latents z = (Phi^-1(u), Phi^-1(v)) of an even grid of (u, v) in the unit square.

    Phi is the standard normal's distribution function, so that each image stands for as much of the prior as any other
    (Kingma and Welling 2014, https://arxiv.org/abs/1312.6114, figure 4).

    Args:
        subject: model and data.
        side: images in a row and rows; u and v are 1/2, 3/2, 5/2 ... over this.
        label: the class, of a conditional model; 0 when not given.

    Returns:
        The images, z1 growing to the right and z2 upwards, and the values that both take.

    Raises:
        InputError: when the latents have no prior, or are not two.
    """
    at_least(1, side=side)
    subject.need(LatentGenerator, "has no prior over its latents, which manifold needs")
    mean = with_class(subject, prior_mean(subject), label)
    if (dims := noise_of(subject, mean).shape[1]) != 2:
        raise InputError(
            f"manifold needs 2 latents, this model has {dims}; train an autoencoder or a GAN with "
            "--model.latent_dim 2, or take traverse"
        )
    values = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side).float().to(mean.device)
    up, right = torch.meshgrid(values.flip(0), values, indexing="ij")
    noise = torch.stack([right, up], -1).flatten(0, 1)  # (side^2, 2)
    images = decode(subject, torch.cat([noise, mean[:, 2:].expand(len(noise), -1)], 1))
    picture = grid(enlarged(images, PICTURE // side), side)
    return Findings(picture, {"side": side, "values": values.tolist()})
