"""The least-squares GAN (Mao et al. 2017, https://arxiv.org/abs/1611.04076)."""

from typing import Any, Literal

from lightning_gen.losses.adversarial import least_squares
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.types import ImageShape

CODINGS = {"0-1-1": (0.0, 1.0, 1.0), "-1-1-0": (-1.0, 1.0, 0.0)}
"""Targets (a, b, c) of generated images, of real images, and of the generator."""


class LSGAN(LatentGAN):
    """DCGAN's networks with the least-squares loss.

    The discriminator minimises E[(D(x) - b)^2] / 2 + E[(D(G(z)) - a)^2] / 2, the generator E[(D(G(z)) - c)^2] / 2.

    Args:
        image_shape: (channels, height, width).
        coding: the targets a-b-c: ``0-1-1`` (equation 9 of the paper), or ``-1-1-0``, where b - c = 1 and b - a = 2,
            which minimises the Pearson chi-square divergence (equation 8).
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, coding: Literal["0-1-1", "-1-1-0"] = "0-1-1", **kwargs: Any) -> None:
        super().__init__(objective=least_squares(*CODINGS[coding]), image_shape=image_shape, **kwargs)
        self.set_network(self.make_generator())
        self.discriminator = self.make_discriminator()
        self.save_hyperparameters()
