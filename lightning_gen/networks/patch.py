"""PatchGAN: a discriminator with one logit per overlapping patch of the image (Isola et al. 2017, section 3.2.2).

https://arxiv.org/abs/1611.07004. With n layers of stride 2 the side of a patch is 1, 16, 34, 70, 142 for n = 0, 1, 2,
3, 4; n = 0 is the PixelGAN, of 1 x 1 convolutions.
"""

import math
from itertools import pairwise
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.networks.initialization import INITIALIZATIONS, Initialization
from lightning_gen.networks.norms import MapNorm, apply_spectral_norm, make_norm
from lightning_gen.networks.resampling import BlurDownsample
from lightning_gen.types import Images, ImageShape

PatchNorm = Literal["none", "instance", "batch", "spectral"]
MAX_MULTIPLIER = 8
"""The largest number of channels, as a multiple of the width."""


def default_patch_layers(image_shape: ImageShape) -> int:
    """Number of stride-2 layers by the image's shorter side: 1 below 32 pixels, 2 from 32 and 3 from 64."""
    return min(3, max(1, int(math.log2(min(image_shape[1:]))) - 3))


class PatchDiscriminator(nn.Module):
    """4 x 4 convolutions from images to a map of logits, LeakyReLU(0.2), a norm in all layers but the first and last.

    n convolutions with stride 2 are followed by two with stride 1; the number of channels doubles up to 8 times the
    width. A convolution before a norm has no bias, which the norm would cancel.

    Args:
        image_shape: (channels, height, width) of its inputs.
        width: number of channels after the first convolution; the paper's is 64.
        layers: number n of stride-2 convolutions; None: by the image's size (:func:`default_patch_layers`).
        norm: ``none``, ``instance``, ``batch``, or ``spectral`` for spectral normalisation of all weights.
        antialias: whether convolutions with stride 1 and :class:`BlurDownsample` replace those with stride 2.
        initialization: ``normal``: N(0, 0.02^2); ``xavier``: Xavier's with gain 0.02.

    Raises:
        InputError: if the image is too small for n.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        width: int = 64,
        layers: int | None = None,
        norm: PatchNorm = "instance",
        antialias: bool = False,
        initialization: Initialization = "normal",
    ) -> None:
        super().__init__()
        layers = default_patch_layers(image_shape) if layers is None else layers
        check_at_least(0, patch_layers=layers)
        side = min(image_shape[1:])
        if side < 3 * 2**layers:
            raise InputError(
                f"model.patch_layers is {layers} and the images have {side} pixels; it needs at least {3 * 2**layers}, "
                f"so set it to {max(0, int(math.log2(side / 3)))} or less"
            )
        map_norm: MapNorm = "none" if norm == "spectral" else norm
        kernel, stride, padding = (4, 2, 1) if layers else (1, 1, 0)
        channels = [width * min(2**i, MAX_MULTIPLIER) for i in range(max(layers, 1) + 1)]
        body: list[nn.Module] = []
        for i, (in_channels, out_channels) in enumerate(pairwise([image_shape[0], *channels])):
            use_norm = map_norm != "none" and i > 0
            halve = stride == 2 and i < layers
            body.append(
                nn.Conv2d(
                    in_channels, out_channels, kernel, 2 if halve and not antialias else 1, padding, bias=not use_norm
                )
            )
            if use_norm:
                body.append(make_norm(map_norm, out_channels))
            body.append(nn.LeakyReLU(0.2))
            if halve and antialias:
                body.append(BlurDownsample())
        self.layers = nn.Sequential(*body, nn.Conv2d(channels[-1], 1, kernel, padding=padding))
        self.apply(INITIALIZATIONS[initialization])
        if norm == "spectral":
            apply_spectral_norm(self)

    def forward(self, images: Images) -> Float[Tensor, "batch 1 rows columns"]:
        """Logits of the patches."""
        return self.layers(images)
