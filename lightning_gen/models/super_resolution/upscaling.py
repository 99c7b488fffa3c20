"""What models for super-resolution share: a network from images to images ``scale`` times as high and wide."""

from typing import Any

from lightning_gen.checks import check_at_least
from lightning_gen.models.translator import ImageTranslation
from lightning_gen.networks.upscalers import UpscalerKind, UpscalerNorm, make_upscaler
from lightning_gen.types import ImageShape


class SuperResolution(ImageTranslation):
    """Mixin of models for super-resolution, which are trained on pairs of an image and its smaller version.

    It precedes the training base class among the bases of a model. Images may have any size.

    Args:
        image_shape: (channels, height, width) of the large images.
        input_shape: (channels, height, width) of the small images.
        network: ``srresnet`` or ``rrdb``, see :mod:`lightning_gen.networks.upscalers`.
        width: number of channels of the features.
        blocks: number of residual blocks; None: 16 of ``srresnet``, 23 of ``rrdb``.
        norm: ``none``, or ``batch`` for BatchNorm in ``srresnet``.
        **kwargs: see the training base class.

    Raises:
        InputError: if the large images are not 2, 3, 4 or 8 times as high and wide as the small ones, or have other
            channels.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        input_shape: ImageShape,
        network: UpscalerKind = "srresnet",
        width: int = 64,
        blocks: int | None = None,
        norm: UpscalerNorm = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, input_shape=input_shape, **kwargs)
        check_at_least(2, width=width)
        check_at_least(1, blocks=blocks)
        upscaler = make_upscaler(network, self.image_shape[0], self.scale, width, blocks, norm)
        self.architecture = (
            f"{network} with width {width}, {len(upscaler.blocks)} blocks, norm {norm}, {self.image_shape[0]} channels "
            f"and scale {self.scale}"
        )
        self.context = upscaler.context
        self.input_multiple = upscaler.input_multiple
        self.set_network(upscaler)
