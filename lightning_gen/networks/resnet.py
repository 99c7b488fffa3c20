"""The residual networks of SNGAN (Miyato et al. 2018, https://arxiv.org/abs/1802.05957, appendix B.4).

The blocks are those of WGAN-GP (Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028): F(x) + S(x), where the
residual F begins with its activation and the shortcut S is a 1 x 1 convolution. Table 4 of SNGAN specifies the networks
for 32 pixels, table 6 those for 128. Numbers of channels are listed here in multiples of ``width``, the number next to
the image:

    side    generator: 4 x 4 map, up-sampling blocks    discriminator: down-sampling blocks | plain blocks
      16    1, 1 1                                      1 1 | 1 1
      32    1, 1 1 1                                    1 1 | 1 1            table 4: width 256, and 128
      64    16, 8 4 2 1                                 1 2 4 8 | 16         table 5's discriminator: width 64
     128    16, 16 8 4 2 1                              1 2 4 8 16 | 16      table 6: width 64

Up to 32 pixels, the number of channels is constant. From 64 pixels on, it doubles whenever the side is halved, up to 16
times the width. The paper has no tables for 16 and 64 pixels: 16 has one block fewer than 32, and 64 one block fewer
than 128, which makes its discriminator the one of the paper for 48 pixels. The first block of a discriminator has no
ReLU before its first convolution. The 3 x 3 convolutions of residuals are initialised from Xavier's uniform
distribution with gain sqrt(2), all other layers with gain 1, and biases with 0.
"""

import math
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.errors import InputError
from lightning_gen.networks.norms import ConditionalBatchNorm
from lightning_gen.types import Classes, Images, ImageShape

SIDES = (16, 32, 64, 128)
MAX_CHANNEL_MULTIPLIER = 16
"""Number of channels of the smallest maps, in multiples of the width."""

Maps = Float[Tensor, "batch channels height width"]


def num_upsamplings(image_shape: ImageShape) -> int:
    """The number of up-sampling blocks from a 4 x 4 map to the image, 2 to 5.

    Args:
        image_shape: (channels, height, width).

    Returns:
        The number of blocks.

    Raises:
        InputError: if the image is not square or its side is not 16, 32, 64 or 128.
    """
    _, height, width = image_shape
    if height != width or height not in SIDES:
        raise InputError(
            "the residual networks support square images of 16, 32, 64 or 128 pixels, "
            f"not {height} x {width}; set data.image_size"
        )
    return SIDES.index(height) + 2


def generator_channels(image_shape: ImageShape, width: int) -> list[int]:
    """Numbers of channels of the 4 x 4 map and of each block, e.g. [256, 256, 256] for 16 pixels and width 256."""
    return [width * _channel_multiplier(i, image_shape) for i in reversed(range(num_upsamplings(image_shape) + 1))]


def body_channels(image_shape: ImageShape, width: int) -> tuple[list[int], list[int]]:
    """Numbers of channels of the discriminator's down-sampling blocks, and of the plain blocks after them."""
    upsamplings = num_upsamplings(image_shape)
    if _has_constant_channels(image_shape):
        return [width] * 2, [width] * 2
    channels = [width * _channel_multiplier(i, image_shape) for i in range(upsamplings + 1)]
    return channels[:-1], channels[-1:]


def _has_constant_channels(image_shape: ImageShape) -> bool:
    return image_shape[1] <= 32


def _channel_multiplier(halvings: int, image_shape: ImageShape) -> int:
    return 1 if _has_constant_channels(image_shape) else min(2**halvings, MAX_CHANNEL_MULTIPLIER)


def _make_norm(channels: int, num_classes: int) -> nn.Module:
    return ConditionalBatchNorm(channels, num_classes) if num_classes else nn.BatchNorm2d(channels)


def _normalise(norm: nn.Module, maps: Maps, classes: Classes) -> Maps:
    return norm(maps, classes) if isinstance(norm, ConditionalBatchNorm) else norm(maps)


def _make_conv(
    in_channels: int, out_channels: int, kernel_size: int = 3, gain: float = math.sqrt(2), bias: bool = True
) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
    nn.init.xavier_uniform_(conv.weight, gain=gain)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class GeneratorBlock(nn.Module):
    """BN, ReLU, up-sampling, 3 x 3, BN, ReLU, 3 x 3, with a shortcut of up-sampling and 1 x 1; doubles the side.

    The convolutions have no bias, because the BatchNorm that follows would remove it.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        num_classes: number of classes of conditional BatchNorm; 0 for plain BatchNorm.
    """

    def __init__(self, in_channels: int, out_channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm1 = _make_norm(in_channels, num_classes)
        self.conv1 = _make_conv(in_channels, out_channels, bias=False)
        self.norm2 = _make_norm(out_channels, num_classes)
        self.conv2 = _make_conv(out_channels, out_channels, bias=False)
        self.shortcut = _make_conv(in_channels, out_channels, kernel_size=1, gain=1.0, bias=False)

    def forward(self, maps: Maps, classes: Classes) -> Float[Tensor, "batch out_channels height2 width2"]:
        """Transform maps, given class weights (batch, num_classes), which have no columns if num_classes is 0."""
        residual = F.relu(_normalise(self.norm1, maps, classes))
        residual = self.conv1(F.interpolate(residual, scale_factor=2.0, mode="nearest"))
        residual = self.conv2(F.relu(_normalise(self.norm2, residual, classes)))
        # a 1 x 1 convolution commutes with nearest-neighbour up-sampling: the same result at a quarter of the cost
        return residual + F.interpolate(self.shortcut(maps), scale_factor=2.0, mode="nearest")


class ResNetGenerator(nn.Module):
    """Up-sampling residual blocks from latents to images, without an output activation.

    With classes, every BatchNorm is conditional on them (Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637),
    and the first, linear layer receives only the noise.

    Args:
        latent_dim: number of noise dimensions.
        image_shape: (channels, side, side), side 16, 32, 64 or 128.
        width: number of channels next to the image; the paper uses 256 for 32 pixels and 64 for 128.
        num_classes: number of class weights after the noise; 0 for an unconditional generator.
    """

    def __init__(self, latent_dim: int, image_shape: ImageShape, width: int, num_classes: int = 0) -> None:
        super().__init__()
        channels = generator_channels(image_shape, width)
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.linear = nn.Linear(latent_dim, channels[0] * 4 * 4)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.blocks = nn.ModuleList(
            GeneratorBlock(in_channels, out_channels, num_classes) for in_channels, out_channels in pairwise(channels)
        )
        self.norm = _make_norm(channels[-1], num_classes)
        self.conv = _make_conv(channels[-1], image_shape[0], gain=1.0)

    def forward(self, latents: Float[Tensor, "batch latent"]) -> Images:
        """Decode latents (batch, latent_dim + num_classes): noise followed by class weights, one-hot or a mixture."""
        noise, classes = latents.split([self.latent_dim, self.num_classes], dim=1)
        maps = self.linear(noise).unflatten(1, (-1, 4, 4))  # (batch, channels[0], 4, 4)
        for block in self.blocks:
            maps = block(maps, classes)
        return self.conv(F.relu(_normalise(self.norm, maps, classes)))


class DiscriminatorBlock(nn.Module):
    """ReLU, 3 x 3, ReLU, 3 x 3, 2 x 2 average pooling, with a shortcut of pooling and 1 x 1.

    The shortcut is the identity if neither the side nor the number of channels changes.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        downsample: whether the block halves the side; without it, there is no pooling.
        first: whether the input is an image, and no ReLU precedes the first convolution.
        batch_norm: whether BatchNorm precedes the ReLUs.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, downsample: bool, first: bool = False, batch_norm: bool = False
    ) -> None:
        super().__init__()
        self.downsample, self.first = downsample, first
        hidden = out_channels if first else in_channels
        self.norm1 = nn.BatchNorm2d(in_channels) if batch_norm else nn.Identity()
        self.conv1 = _make_conv(in_channels, hidden, bias=not batch_norm)
        self.norm2 = nn.BatchNorm2d(hidden) if batch_norm else nn.Identity()
        self.conv2 = _make_conv(hidden, out_channels)
        has_shortcut_conv = downsample or in_channels != out_channels
        self.shortcut = (
            _make_conv(in_channels, out_channels, kernel_size=1, gain=1.0) if has_shortcut_conv else nn.Identity()
        )

    def forward(self, maps: Maps) -> Float[Tensor, "batch out_channels height2 width2"]:
        """Transform maps."""
        residual = self.conv1(maps if self.first else F.relu(self.norm1(maps)))
        residual = self.conv2(F.relu(self.norm2(residual)))
        if self.downsample:
            # a 1 x 1 convolution commutes with average pooling: the same result at a quarter of the cost
            residual, maps = F.avg_pool2d(residual, 2), F.avg_pool2d(maps, 2)
        return residual + self.shortcut(maps)


class ResNetBody(nn.Module):
    """Residual blocks, a ReLU and a sum over positions: the discriminator without its head.

    Args:
        image_shape: (channels, side, side), side 16, 32, 64 or 128.
        width: number of channels next to the image; the paper uses 128 for 32 pixels and 64 for 128.
        batch_norm: whether BatchNorm precedes the ReLUs of all blocks except the first.

    Attributes:
        features: number of output features.
    """

    def __init__(self, image_shape: ImageShape, width: int, batch_norm: bool = False) -> None:
        super().__init__()
        downsampling, plain = body_channels(image_shape, width)
        channels = [image_shape[0], *downsampling, *plain]
        self.features = channels[-1]
        self.blocks = nn.Sequential(
            *(
                DiscriminatorBlock(
                    in_channels,
                    out_channels,
                    downsample=i < len(downsampling),
                    first=i == 0,
                    batch_norm=batch_norm and i > 0,
                )
                for i, (in_channels, out_channels) in enumerate(pairwise(channels))
            )
        )

    def forward(self, images: Images) -> Float[Tensor, "batch features"]:
        """Encode images; the features are not negative."""
        return F.relu(self.blocks(images)).sum((2, 3))
