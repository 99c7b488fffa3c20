r"""The UNet of diffusion models (Ho et al. 2020, https://arxiv.org/abs/2006.11239, with the changes of later papers).

Residual blocks at falling and rising resolutions, joined by skips; noise and class come in as a scale and a shift after
each block's second GroupNorm (Dhariwal and Nichol 2021, https://arxiv.org/abs/2105.05233, section 3); self-attention at
chosen resolutions. The last layer of every residual branch begins at zero.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.errors import InputError
from lightning_gen.networks.conditioning import Condition, NoiseAndClass, zeroed
from lightning_gen.types import Classes, Images, ImageShape

Maps = Float[Tensor, "batch width height_of_map width_of_map"]
Doubled = Float[Tensor, "batch width 2*height_of_map 2*width_of_map"]
Made = Float[Tensor, "batch outputs height_of_map width_of_map"]
PerChannel = Float[Tensor, "batch channels"]
GROUPS, LEAST, HEAD = 32, 4, 64
"""GroupNorm's groups, at most; its channels in a group, at least; and the channels of an attention head, at most."""


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 32 groups, or fewer where they would be of less than 4 channels or would not divide them."""
    return nn.GroupNorm(math.gcd(GROUPS, max(1, channels // LEAST), channels), channels)


def modulated(norm: nn.GroupNorm, maps: Maps, scale: PerChannel, shift: PerChannel) -> Maps:
    """(1 + scale) GroupNorm(maps) + shift, in one pass.

    The scale and the shift go into GroupNorm's weight and bias; these are then each image's own, so the images lie side
    by side as the groups of a single one. Maps in the channels-last layout, of which that would take copies, are left
    to the compiler.

    Args:
        norm: the GroupNorm.
        maps: what to normalize.
        scale: of each image and channel, beside 1.
        shift: of each image and channel.

    Returns:
        The maps, normalized, scaled and shifted.
    """
    factor = 1 + scale
    if not maps.is_contiguous():
        return norm(maps) * factor[:, :, None, None] + shift[:, :, None, None]
    weight, bias = norm.weight * factor, torch.addcmul(shift, norm.bias, factor)
    images = maps.reshape(1, -1, *maps.shape[2:])
    return F.group_norm(images, len(maps) * norm.num_groups, weight.flatten(), bias.flatten(), norm.eps).view_as(maps)


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU, 3 x 3, twice, the second time with the condition's scale and shift; beside the identity.

    Args:
        inputs: channels.
        outputs: channels.
        condition: length of the condition.
        dropout: before the second convolution.
    """

    def __init__(self, inputs: int, outputs: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(group_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.modulation = nn.Linear(condition, 2 * outputs)
        self.norm = group_norm(outputs)
        self.second = nn.Sequential(nn.SiLU(), nn.Dropout(dropout), zeroed(nn.Conv2d(outputs, outputs, 3, padding=1)))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, maps: Maps, condition: Condition) -> Made:
        """Transform maps."""
        scale, shift = self.modulation(condition).chunk(2, dim=1)
        return self.skip(maps) + self.second(modulated(self.norm, self.first(maps), scale, shift))


class SelfAttention(nn.Module):
    """Every position looks at every other, beside the identity.

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD)
        if channels % self.heads:
            self.heads = 1
        self.norm = group_norm(channels)
        self.into = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, maps: Maps) -> Maps:
        """Attend."""
        places = self.norm(maps).flatten(2).transpose(1, 2)  # (batch, positions, channels): attention's own order
        parts = F.linear(places, self.into.weight.flatten(1), self.into.bias).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (batch, heads, positions, channels of a head)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        out = F.linear(mixed, self.out.weight.flatten(1), self.out.bias)
        return maps + out.transpose(1, 2).unflatten(2, maps.shape[2:])


class Level(nn.Module):
    """A residual block and, at some resolutions, attention.

    Args:
        inputs: channels.
        outputs: channels.
        condition: length of the condition.
        attention: whether there is attention.
        dropout: of the block.
    """

    def __init__(self, inputs: int, outputs: int, condition: int, attention: bool, dropout: float) -> None:
        super().__init__()
        self.block = ResidualBlock(inputs, outputs, condition, dropout)
        self.attention: nn.Module = SelfAttention(outputs) if attention else nn.Identity()

    def forward(self, maps: Maps, condition: Condition) -> Made:
        """Transform maps."""
        return self.attention(self.block(maps, condition))


class Upsampling(nn.Sequential):
    """Nearest upsampling and a 3 x 3 convolution.

    Two neighbours of three are the same pixel twice, so both are one transposed convolution of stride 2 with 4 x 4 sums
    of the kernel's taps, which takes 4 / 9 of the multiplications.

    Args:
        channels: in and out.
    """

    sums: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Upsample(scale_factor=2), nn.Conv2d(channels, channels, 3, padding=1))
        side = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
        self.register_buffer("sums", torch.kron(side, side), persistent=False)

    def forward(self, maps: Maps) -> Doubled:
        """Double both sides."""
        convolution: Any = self[1]
        taps = convolution.weight.transpose(0, 1).flatten(2)  # (inputs, outputs, 9)
        return F.conv_transpose2d(maps, (taps @ self.sums).unflatten(2, (4, 4)), convolution.bias, stride=2, padding=1)


class UNet(nn.Module):
    """Noisy images, how noisy they are and their classes, to images.

    Args:
        image_shape: (channels, height, width), both sides multiples of 2^(number of multipliers - 1).
        width: channels at the image's resolution, times the first multiplier.
        multipliers: of the width, one for each resolution from the image's down.
        blocks: residual blocks at each resolution on the way down, and one more on the way up.
        attention: sides of the maps at which there is attention; the middle always has it.
        dropout: in the residual blocks, in [0, 1).
        num_classes: classes; 0 for an unconditional network.

    Raises:
        InputError: when the images cannot be halved so often, or a number is out of its range.
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
    ) -> None:
        super().__init__()
        channels, height, width_of_image = image_shape
        halvings = len(multipliers) - 1
        if not multipliers or min(multipliers) < 1 or blocks < 1 or width < 2 or width % 2:
            raise InputError(
                f"a UNet has an even width, multipliers and blocks of 1 or more, not width {width}, "
                f"multipliers {list(multipliers)} and {blocks} blocks"
            )
        if height % 2**halvings or width_of_image % 2**halvings:
            raise InputError(
                f"a UNet with {len(multipliers)} multipliers halves the image {halvings} times, and {height} x "
                f"{width_of_image} cannot be halved so often; take fewer, or set data.image_size to a multiple of "
                f"{2**halvings}"
            )
        if not 0 <= dropout < 1:
            raise InputError(f"a UNet's dropout is at least 0 and below 1, not {dropout}")
        condition = 4 * width
        self.condition = NoiseAndClass(condition, width, num_classes)
        self.into = nn.Conv2d(channels, width, 3, padding=1)
        sizes = [width * multiplier for multiplier in multipliers]
        sides = [height // 2**i for i in range(len(multipliers))]

        def level(inputs: int, outputs: int, side: int) -> Level:
            return Level(inputs, outputs, condition, side in attention, dropout)

        now, skips = width, [width]
        self.down: Any = nn.ModuleList()
        for i, (size, side) in enumerate(zip(sizes, sides, strict=True)):
            for _ in range(blocks):
                self.down.append(level(now, size, side))
                now = size
                skips.append(now)
            if i < halvings:
                self.down.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                skips.append(now)
        self.middle: Any = nn.ModuleList(
            [Level(now, now, condition, True, dropout), Level(now, now, condition, False, dropout)]
        )
        self.up: Any = nn.ModuleList()
        for i, (size, side) in reversed([*enumerate(zip(sizes, sides, strict=True))]):
            for _ in range(blocks + 1):
                self.up.append(level(now + skips.pop(), size, side))
                now = size
            if i > 0:
                self.up.append(Upsampling(now))
        self.out = nn.Sequential(group_norm(now), nn.SiLU(), zeroed(nn.Conv2d(now, channels, 3, padding=1)))

    def forward(self, images: Images, noise: Float[Tensor, " batch"], classes: Classes | None = None) -> Images:
        """Look at noisy images.

        Args:
            images: of unit variance, about.
            noise: how much noise there is in each, in a unit of which a change of 1 should be seen.
            classes: rows of their classes, zeros for none; only a conditional network looks at them.

        Returns:
            Whatever the network is trained to give, of the images' shape.
        """
        condition = self.condition(noise, classes)
        maps = self.into(images)
        if torch.compiler.is_compiling() and maps.is_cpu:
            # the layout in which the CPU's convolutions are fastest; PyTorch's GroupNorm is not, unless compiled
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
