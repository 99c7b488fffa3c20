"""ESRGAN (Wang et al. 2018, https://arxiv.org/abs/1809.00219) and Real-ESRGAN (https://arxiv.org/abs/2107.10833)."""

from typing import Any

from lightning_gen.models.super_resolution.adversarial import SuperResolutionGAN
from lightning_gen.networks.upscalers import UpscalerKind
from lightning_gen.types import ImageShape


class ESRGAN(SuperResolutionGAN):
    """Residual-in-residual dense blocks with a perceptual and the relativistic average loss.

    Real-ESRGAN is this model with degraded inputs, ``discriminator: unet``, ``relativistic: false``, ``sharpen`` and
    the features of five layers.

    Args:
        image_shape: (channels, height, width) of the large images.
        input_shape: (channels, height, width) of the small images.
        network: ``srresnet`` or ``rrdb``.
        relativistic: whether the discriminator compares images, see :class:`SuperResolutionGAN`.
        **kwargs: see :class:`SuperResolutionGAN`, :class:`SuperResolution` and their other base classes.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        input_shape: ImageShape,
        network: UpscalerKind = "rrdb",
        relativistic: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_shape=image_shape, input_shape=input_shape, network=network, relativistic=relativistic, **kwargs
        )
        self.save_hyperparameters()
