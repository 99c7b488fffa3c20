"""The deep convolutional GAN (Radford et al. 2015, https://arxiv.org/abs/1511.06434)."""

from typing import Any

from lightning_gen.losses.adversarial import NON_SATURATING
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.types import ImageShape


class DCGAN(LatentGAN):
    """Convolutional generator and discriminator with the non-saturating loss.

    Latents are standard normal, not uniform as in the paper. The discriminator receives real and generated images in
    separate batches, each with its own BatchNorm statistics.

    Args:
        image_shape: (channels, side, side), side in 8..128.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, **kwargs: Any) -> None:
        super().__init__(objective=NON_SATURATING, image_shape=image_shape, **kwargs)
        self.set_network(self.make_generator())
        self.discriminator = self.make_discriminator()
        self.save_hyperparameters()
