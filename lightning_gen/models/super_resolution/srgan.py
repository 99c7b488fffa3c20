"""SRGAN (Ledig et al. 2017, https://arxiv.org/abs/1609.04802)."""

from typing import Any

from lightning_gen.models.super_resolution.adversarial import SuperResolutionGAN
from lightning_gen.types import ImageShape


class SRGAN(SuperResolutionGAN):
    """SRResNet with a perceptual and the non-saturating loss.

    Weights are those of BasicSR (https://github.com/XPixelGroup/BasicSR), which compares VGG19's features before their
    ReLU by the mean absolute error, where the paper takes those after it and the squared error.

    Args:
        image_shape: (channels, height, width) of the large images.
        input_shape: (channels, height, width) of the small images.
        relativistic: whether the discriminator compares images, see :class:`SuperResolutionGAN`.
        **kwargs: see :class:`SuperResolutionGAN`, :class:`SuperResolution` and their other base classes.
    """

    def __init__(
        self, image_shape: ImageShape, input_shape: ImageShape, relativistic: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(image_shape=image_shape, input_shape=input_shape, relativistic=relativistic, **kwargs)
        self.save_hyperparameters()
