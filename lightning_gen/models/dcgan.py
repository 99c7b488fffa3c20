"""The deep convolutional GAN (Radford et al. 2015, https://arxiv.org/abs/1511.06434)."""

from typing import Any

from lightning_gen.losses.adversarial import NON_SATURATING
from lightning_gen.models.latent_gan import LatentGAN
from lightning_gen.types import ImageShape


class DCGAN(LatentGAN):
    """DCGAN's players under the non-saturating loss.

    As in the paper but for the latents, which are standard normal and not uniform (what the field has settled on).
    The discriminator sees real and generated images in batches of their own, each with its BatchNorm statistics.

    Args:
        image_shape: (channels, side, side), side in 8..128.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    objective = NON_SATURATING

    def __init__(self, image_shape: ImageShape, **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        self.build()
