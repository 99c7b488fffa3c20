"""The least-squares GAN (Mao et al. 2017, https://arxiv.org/abs/1611.04076)."""

from typing import Any, Literal

from lightning_gen.losses.adversarial import Objective, least_squares
from lightning_gen.models.latent_gan import LatentGAN
from lightning_gen.types import ImageShape

CODINGS = {"0-1-1": (0.0, 1.0, 1.0), "-1-1-0": (-1.0, 1.0, 0.0)}
"""Name -> targets (a, b, c) of generated images, of real ones, and of the generator."""


class LSGAN(LatentGAN):
    """DCGAN's players under the least-squares loss.

    The discriminator minimises E[(D(x) - b)^2] / 2 + E[(D(G(z)) - a)^2] / 2, the generator E[(D(G(z)) - c)^2] / 2.

    Args:
        image_shape: (channels, height, width).
        coding: the targets a-b-c: ``0-1-1`` draws generated images to the real ones' target (equation 9 of the paper);
            ``-1-1-0`` has b - c = 1 and b - a = 2, and so minimises the Pearson chi-square divergence (equation 8).
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, coding: Literal["0-1-1", "-1-1-0"] = "0-1-1", **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        self.coding = coding
        self.build()

    @property
    def objective(self) -> Objective:
        """Squared distances to the targets."""
        return least_squares(*CODINGS[self.coding])
