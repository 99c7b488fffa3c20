"""Networks from images to images of the same height and width: the U-Net of Pix2Pix and the ResNet of CycleGAN.

Both halve the image several times. Sides that cannot be halved so often are padded symmetrically, and the output is
cropped, so that they take images of any size. A convolution before a norm has no bias, which the norm would cancel.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.checks import check_at_least, check_fraction
from lightning_gen.errors import InputError
from lightning_gen.networks.dcgan import init_weights
from lightning_gen.networks.initialization import INITIALIZATIONS, Initialization
from lightning_gen.networks.norms import MapNorm, make_norm
from lightning_gen.networks.resampling import BlurDownsample, Upsampling, make_upsampling
from lightning_gen.resize import pad_symmetric
from lightning_gen.types import Images, ImageShape, Inputs

Maps = Float[Tensor, "batch channels map_height map_width"]
MAX_MULTIPLIER = 8
"""The largest number of channels of the U-Net, as a multiple of the width."""
MIN_SIDE = 4
"""The smallest side of an image that the reflection padding of the ResNet's first layer allows."""


def pad_to_multiple(images: Images, multiple: int) -> Tensor:
    """Pad images symmetrically at the right and at the bottom, until ``multiple`` divides height and width."""
    height, width = images.shape[-2:]
    return pad_symmetric(images, 0, -width % multiple, 0, -height % multiple)


class UNetTranslator(nn.Module):
    """A U-Net (Isola et al. 2017, https://arxiv.org/abs/1611.07004, section 6.1.1), with a tanh at the output.

    The encoder's 4 x 4 convolutions halve the side each and double the channels up to 8 times the width, after
    LeakyReLU(0.2); the decoder doubles the side, after ReLU. Every map of the encoder is concatenated to the map of its
    size in the decoder. All layers have a norm but the encoder's first and last, whose map of 1 x 1 pixel a norm would
    erase, and the decoder's last. The decoder's norms are needed: without them, trained networks collapse to an image
    of one colour.

    Args:
        in_channels: number of channels of the inputs.
        image_shape: (channels, height, width) of the images that it makes.
        width: number of channels next to the image; the paper's is 64.
        halvings: number of halvings; None: floor(log2(shorter side)), which leaves a map of 1 x 1 for powers of two.
        norm: ``instance`` or ``batch``.
        dropout: dropout of the first three decoder layers, in [0, 1).
        upsampling: see :func:`~lightning_gen.networks.resampling.make_upsampling`; the paper's is ``transposed``, with
            4 x 4 kernels.

    Raises:
        InputError: if the image cannot be halved that many times, or a value is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        image_shape: ImageShape,
        width: int = 64,
        halvings: int | None = None,
        norm: MapNorm = "instance",
        dropout: float = 0.0,
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        most = int(math.log2(min(image_shape[1:])))
        halvings = most if halvings is None else halvings
        check_at_least(1, halvings=halvings)
        check_fraction(dropout=dropout)
        if halvings > most:
            raise InputError(
                f"model.halvings is {halvings}, and images of {min(image_shape[1:])} pixels can be halved {most} times"
            )
        self.multiple = 2**halvings
        channels = [width * min(2**i, MAX_MULTIPLIER) for i in range(halvings)]
        self.encoder = nn.ModuleList([nn.Conv2d(in_channels, channels[0], 4, stride=2, padding=1)])
        for i in range(1, halvings):
            last = i == halvings - 1
            layers = [nn.LeakyReLU(0.2), nn.Conv2d(channels[i - 1], channels[i], 4, stride=2, padding=1, bias=last)]
            self.encoder.append(nn.Sequential(*layers, *([] if last else [make_norm(norm, channels[i])])))
        self.decoder = nn.ModuleList()
        for i in reversed(range(1, halvings)):
            inputs = channels[i] if i == halvings - 1 else 2 * channels[i]
            layers = [
                nn.ReLU(),
                make_upsampling(upsampling, inputs, channels[i - 1], kernel_size=4, bias=False),
                make_norm(norm, channels[i - 1]),
            ]
            if dropout and len(self.decoder) < 3:
                layers.append(nn.Dropout(dropout))
            self.decoder.append(nn.Sequential(*layers))
        inputs = channels[0] if halvings == 1 else 2 * channels[0]
        self.decoder.append(
            nn.Sequential(nn.ReLU(), make_upsampling(upsampling, inputs, image_shape[0], kernel_size=4), nn.Tanh())
        )
        self.apply(init_weights)

    def forward(self, inputs: Inputs) -> Images:
        """Translate inputs of any height and width."""
        height, width = inputs.shape[-2:]
        maps = pad_to_multiple(inputs, self.multiple)
        skips: list[Tensor] = []
        for layer in self.encoder:
            maps = layer(maps)
            skips.append(maps)
        maps = skips.pop()
        for i, layer in enumerate(self.decoder):
            maps = layer(maps if i == 0 else torch.cat([maps, skips.pop()], 1))
        return maps[..., :height, :width]


class ResidualBlock(nn.Module):
    """3 x 3 convolution, norm, ReLU, 3 x 3 convolution, norm, with reflection padding, plus the identity.

    Args:
        channels: number of channels.
        norm: ``instance`` or ``batch``.
    """

    def __init__(self, channels: int, norm: MapNorm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *convolution(channels, channels, 3, norm), nn.ReLU(), *convolution(channels, channels, 3, norm)
        )

    def forward(self, maps: Maps) -> Maps:
        """Transform maps."""
        return maps + self.layers(maps)


def convolution(in_channels: int, out_channels: int, kernel_size: int, norm: MapNorm) -> list[nn.Module]:
    """The layers of a convolution with reflection padding and a norm."""
    layer = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        padding=kernel_size // 2,
        padding_mode="reflect",
        bias=norm == "none",
    )
    return [layer, make_norm(norm, out_channels)]


class ResNetTranslator(nn.Module):
    """The ResNet generator of CycleGAN (Zhu et al. 2017, https://arxiv.org/abs/1703.10593, section 7.2).

    In the paper's notation c7s1-w, d2w, d4w, R4w x blocks, u2w, uw, c7s1-channels for two downsamplings (Johnson et al.
    2016, https://arxiv.org/abs/1603.08155): 7 x 7 convolutions at both ends with reflection padding, each other layer
    with a norm and a ReLU, tanh at the output.

    Args:
        in_channels: number of channels of the inputs.
        image_shape: (channels, height, width) of the images that it makes.
        width: number w of channels next to the image; the paper's is 64.
        blocks: number of residual blocks; None: the paper's 9 from 256 pixels, and 6 below.
        downsamplings: number of halvings of the side; the paper's is 2.
        norm: ``instance`` or ``batch``.
        upsampling: see :func:`~lightning_gen.networks.resampling.make_upsampling`; the paper's is ``transposed``.
        antialias: whether convolutions with stride 1 and :class:`BlurDownsample` replace those with stride 2.
        initialization: ``normal``: N(0, 0.02^2); ``xavier``: Xavier's with gain 0.02, as in CUT.

    Attributes:
        feature_channels: number of channels of each of :meth:`features`.

    Raises:
        InputError: if the image is too small, or a value is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        image_shape: ImageShape,
        width: int = 64,
        blocks: int | None = None,
        downsamplings: int = 2,
        norm: MapNorm = "instance",
        upsampling: Upsampling = "nearest",
        antialias: bool = False,
        initialization: Initialization = "normal",
    ) -> None:
        super().__init__()
        side = min(image_shape[1:])
        blocks = (9 if side >= 256 else 6) if blocks is None else blocks
        check_at_least(1, blocks=blocks)
        check_at_least(0, downsamplings=downsamplings)
        if side < max(MIN_SIDE, 2 * 2**downsamplings):
            raise InputError(
                f"model.downsamplings is {downsamplings}, and images of {side} pixels are too small for it; set "
                f"data.image_size to {max(MIN_SIDE, 2 * 2**downsamplings)} or more"
            )
        self.multiple = 2**downsamplings
        channels = [width * 2**i for i in range(downsamplings + 1)]
        self.stem = nn.Sequential(*convolution(in_channels, width, 7, norm), nn.ReLU())
        self.down: Any = nn.ModuleList()
        for inputs, outputs in pairwise(channels):
            strided = nn.Conv2d(inputs, outputs, 3, stride=1 if antialias else 2, padding=1, bias=False)
            rest = [make_norm(norm, outputs), nn.ReLU(), *([BlurDownsample()] if antialias else [])]
            self.down.append(nn.ModuleList([strided, nn.Sequential(*rest)]))
        self.blocks = nn.ModuleList([ResidualBlock(channels[-1], norm) for _ in range(blocks)])
        up: list[nn.Module] = []
        for inputs, outputs in pairwise(reversed(channels)):
            up += [make_upsampling(upsampling, inputs, outputs, bias=False), make_norm(norm, outputs), nn.ReLU()]
        self.up = nn.Sequential(*up, *convolution(width, image_shape[0], 7, "none")[:1], nn.Tanh())
        self.feature_blocks = sorted({1, min(5, blocks)})
        self.feature_channels = [in_channels, *channels[1:], *[channels[-1]] * len(self.feature_blocks)]
        self.apply(INITIALIZATIONS[initialization])

    def forward(self, inputs: Inputs) -> Images:
        """Translate inputs of any height and width, of at least 4 pixels."""
        height, width = inputs.shape[-2:]
        maps = self.stem(pad_to_multiple(inputs, self.multiple))
        for downsampling, rest in self.down:
            maps = rest(downsampling(maps))
        for block in self.blocks:
            maps = block(maps)
        return self.up(maps)[..., :height, :width]

    def features(self, images: Images) -> list[Tensor]:
        """Maps of the encoder for the contrastive loss of CUT (Park et al. 2020, https://arxiv.org/abs/2007.15651).

        Args:
            images: images.

        Returns:
            The images themselves, the output of each downsampling convolution before its norm, and those of the first
            and the fifth residual block, or the last if there are fewer.
        """
        images = pad_to_multiple(images, self.multiple)
        found = [images]
        maps = self.stem(images)
        for downsampling, rest in self.down:
            found.append(downsampling(maps))
            maps = rest(found[-1])
        for i, block in enumerate(self.blocks[: self.feature_blocks[-1]], start=1):
            maps = block(maps)
            if i in self.feature_blocks:
                found.append(maps)
        return found


class TwoWayTranslator(nn.Module):
    """Two networks, one for each direction; called, it is the forward one.

    Args:
        forward_generator: from the inputs to the images.
        backward_generator: from the images to the inputs.
    """

    def __init__(self, forward_generator: nn.Module, backward_generator: nn.Module) -> None:
        super().__init__()
        self.forward_generator = forward_generator
        self.backward_generator = backward_generator

    def forward(self, inputs: Inputs) -> Images:
        """Translate inputs."""
        return self.forward_generator(inputs)
