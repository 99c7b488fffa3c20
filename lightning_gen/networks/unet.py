r"""The UNet of diffusion models (Ho et al. 2020, https://arxiv.org/abs/2006.11239, with the changes of later papers).

Residual blocks at decreasing and increasing resolutions with skip connections. Noise level and class scale and shift
the output of each block's second GroupNorm (Dhariwal and Nichol 2021, https://arxiv.org/abs/2105.05233, section 3), and
some resolutions have self-attention. The last layer of every residual branch is initialised to zero.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.checks import check_fraction
from lightning_gen.errors import InputError
from lightning_gen.networks.conditioning import BackboneInput, Condition, NoiseClassEmbedding, zero_init
from lightning_gen.types import Classes, Images, ImageShape

Maps = Float[Tensor, "batch width map_height map_width"]
UpsampledMaps = Float[Tensor, "batch out_channels 2*map_height 2*map_width"]
OutputMaps = Float[Tensor, "batch out_channels map_height map_width"]
PerChannel = Float[Tensor, "batch channels"]
MAX_GROUPS, MIN_GROUP_CHANNELS, HEAD_CHANNELS = 32, 4, 64
"""Maximum number of groups of GroupNorm, minimum number of channels per group, and channels per attention head."""


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 32 groups, or fewer such that a group has at least 4 channels and channels are divisible."""
    return nn.GroupNorm(math.gcd(MAX_GROUPS, max(1, channels // MIN_GROUP_CHANNELS), channels), channels)


def modulate(norm: nn.GroupNorm, maps: Maps, scale: PerChannel, shift: PerChannel) -> Maps:
    """(1 + scale) GroupNorm(maps) + shift, in one pass.

    The scale and shift are fused into GroupNorm's weight and bias. Since these then differ between images, the batch is
    reshaped to the groups of a single image. Maps in channels-last layout, which this would copy, are left to the
    compiler.

    Args:
        norm: the GroupNorm.
        maps: the input.
        scale: one per image and channel.
        shift: one per image and channel.

    Returns:
        The normalised, scaled and shifted maps.
    """
    factor = 1 + scale
    if not maps.is_contiguous():
        return norm(maps) * factor[:, :, None, None] + shift[:, :, None, None]
    weight, bias = norm.weight * factor, torch.addcmul(shift, norm.bias, factor)
    images = maps.reshape(1, -1, *maps.shape[2:])
    return F.group_norm(images, maps.shape[0] * norm.num_groups, weight.flatten(), bias.flatten(), norm.eps).view_as(
        maps
    )


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU, 3 x 3 convolution, twice, plus a skip connection; the condition modulates the second GroupNorm.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        condition: number of features of the condition.
        dropout: dropout before the second convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(
            group_norm(in_channels), nn.SiLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1)
        )
        self.modulation = nn.Linear(condition, 2 * out_channels)
        self.norm = group_norm(out_channels)
        self.second = nn.Sequential(
            nn.SiLU(), nn.Dropout(dropout), zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        )
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, maps: Maps, condition: Condition) -> OutputMaps:
        """Transform maps."""
        scale, shift = self.modulation(condition).chunk(2, dim=1)
        return self.skip(maps) + self.second(modulate(self.norm, self.first(maps), scale, shift))


class SelfAttention(nn.Module):
    """Multi-head self-attention over positions, plus the identity.

    Args:
        channels: number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD_CHANNELS)
        if channels % self.heads:
            self.heads = 1
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, maps: Maps) -> Maps:
        """Attend."""
        tokens = self.norm(maps).flatten(2).transpose(1, 2)  # (batch, positions, channels)
        parts = F.linear(tokens, self.qkv.weight.flatten(1), self.qkv.bias).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (batch, heads, positions, channels per head)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        out = F.linear(attended, self.out.weight.flatten(1), self.out.bias)
        return maps + out.transpose(1, 2).unflatten(2, maps.shape[2:])


class Level(nn.Module):
    """A residual block, optionally followed by self-attention.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        condition: number of features of the condition.
        attention: whether self-attention follows.
        dropout: dropout of the block.
    """

    def __init__(self, in_channels: int, out_channels: int, condition: int, attention: bool, dropout: float) -> None:
        super().__init__()
        self.block = ResidualBlock(in_channels, out_channels, condition, dropout)
        self.attention: nn.Module = SelfAttention(out_channels) if attention else nn.Identity()

    def forward(self, maps: Maps, condition: Condition) -> OutputMaps:
        """Transform maps."""
        return self.attention(self.block(maps, condition))


class Upsample(nn.Sequential):
    """Nearest upsampling and a 3 x 3 convolution.

    Two of three adjacent pixels of the upsampled map are equal, so both operations are computed as one transposed
    convolution with stride 2 and a 4 x 4 kernel of summed taps, which needs 4 / 9 of the multiplications.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels; None: as many.
        bias: whether the convolution has a bias.
    """

    tap_sums: Tensor

    def __init__(self, in_channels: int, out_channels: int | None = None, bias: bool = True) -> None:
        convolution = nn.Conv2d(in_channels, out_channels or in_channels, 3, padding=1, bias=bias)
        super().__init__(nn.Upsample(scale_factor=2), convolution)
        side = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
        self.register_buffer("tap_sums", torch.kron(side, side), persistent=False)

    def forward(self, maps: Maps) -> UpsampledMaps:
        """Double height and width."""
        convolution: Any = self[1]
        taps = convolution.weight.transpose(0, 1).flatten(2)  # (in_channels, out_channels, 9)
        return F.conv_transpose2d(
            maps, (taps @ self.tap_sums).unflatten(2, (4, 4)), convolution.bias, stride=2, padding=1
        )


class UNet(nn.Module):
    """A UNet: noisy images, noise levels and class rows to images.

    Args:
        image_shape: (channels, height, width), both sides multiples of 2^(number of multipliers - 1).
        width: base number of channels, even.
        multipliers: multipliers of the width, one per resolution, from the image's resolution down.
        blocks: number of residual blocks per resolution of the encoder; the decoder has one more.
        attention: sides of the feature maps with self-attention; the middle block always has it.
        dropout: dropout of the residual blocks, in [0, 1).
        num_classes: number of classes; 0 for an unconditional network.
        in_channels: number of input channels; None: those of the image.

    Attributes:
        multiple: number that divides the height and width of the images.

    Raises:
        InputError: if the image cannot be halved that many times, or a value is out of range.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        width: int,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] = (16,),
        dropout: float = 0.0,
        num_classes: int = 0,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        image_channels, height, image_width = image_shape
        halvings = len(multipliers) - 1
        if not multipliers or min(multipliers) < 1 or blocks < 1 or width < 2 or width % 2:
            raise InputError(
                f"a UNet needs an even width, and multipliers and blocks of at least 1, not width {width}, "
                f"multipliers {list(multipliers)} and {blocks} blocks"
            )
        if height % 2**halvings or image_width % 2**halvings:
            raise InputError(
                f"a UNet with {len(multipliers)} multipliers halves the image {halvings} times, and {height} x "
                f"{image_width} cannot be halved that many times; use fewer, or set data.image_size to a multiple of "
                f"{2**halvings}"
            )
        check_fraction(dropout=dropout)
        self.multiple = 2**halvings
        condition = 4 * width
        self.condition = NoiseClassEmbedding(condition, width, num_classes)
        self.input = nn.Conv2d(in_channels or image_channels, width, 3, padding=1)
        sizes = [width * multiplier for multiplier in multipliers]
        sides = [height // 2**i for i in range(len(multipliers))]

        def level(in_channels: int, out_channels: int, side: int) -> Level:
            return Level(in_channels, out_channels, condition, side in attention, dropout)

        channels, skips = width, [width]
        self.down: Any = nn.ModuleList()
        for i, (size, side) in enumerate(zip(sizes, sides, strict=True)):
            for _ in range(blocks):
                self.down.append(level(channels, size, side))
                channels = size
                skips.append(channels)
            if i < halvings:
                self.down.append(nn.Conv2d(channels, channels, 3, stride=2, padding=1))
                skips.append(channels)
        self.middle: Any = nn.ModuleList(
            [Level(channels, channels, condition, True, dropout), Level(channels, channels, condition, False, dropout)]
        )
        self.up: Any = nn.ModuleList()
        for i, (size, side) in reversed([*enumerate(zip(sizes, sides, strict=True))]):
            for _ in range(blocks + 1):
                self.up.append(level(channels + skips.pop(), size, side))
                channels = size
            if i > 0:
                self.up.append(Upsample(channels))
        self.out = nn.Sequential(
            group_norm(channels), nn.SiLU(), zero_init(nn.Conv2d(channels, image_channels, 3, padding=1))
        )

    def forward(self, images: BackboneInput, noise: Float[Tensor, " batch"], classes: Classes | None = None) -> Images:
        """Compute the network's output F.

        Args:
            images: noisy images of about unit variance, of any height and width that can be halved as often.
            noise: noise conditioning of each image, scaled such that changes of about 1 matter.
            classes: class rows, zeros for no class; an unconditional network ignores them.

        Returns:
            The prediction, of the images' height and width.
        """
        condition = self.condition(noise, classes)
        maps = self.input(images)
        if torch.compiler.is_compiling() and maps.is_cpu:
            # the fastest layout for convolutions on the CPU; it slows down PyTorch's GroupNorm unless compiled
            maps = maps.contiguous(memory_format=torch.channels_last)
        skips = [maps]
        for layer in self.down:
            maps = layer(maps, condition) if isinstance(layer, Level) else layer(maps)
            skips.append(maps)
        for layer in self.middle:
            maps = layer(maps, condition)
        for layer in self.up:
            maps = layer(torch.cat([maps, skips.pop()], 1), condition) if isinstance(layer, Level) else layer(maps)
        return self.out(maps)
