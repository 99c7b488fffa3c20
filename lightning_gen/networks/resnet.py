"""The residual networks of SNGAN (Miyato et al. 2018, https://arxiv.org/abs/1802.05957, appendix B.4).

Their blocks are those of WGAN-GP (Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028):
F(x) + S(x), where the residual F begins with its activation and the shortcut S is a 1 x 1 convolution. Table 4 has the
players for 32 pixels, table 6 those for 128, with channels in multiples of ``width``, those next to the image:

    side    generator: 4 x 4 map, up-sampling blocks    discriminator: down-sampling blocks | plain blocks
      16    1, 1 1                                      1 1 | 1 1
      32    1, 1 1 1                                    1 1 | 1 1            table 4: width 256, and 128
      64    16, 8 4 2 1                                 1 2 4 8 | 16         table 5's discriminator: width 64
     128    16, 16 8 4 2 1                              1 2 4 8 16 | 16      table 6: width 64

Up to 32 pixels all is constant; from 64 on, channels double with every halving of the side, up to 16 times the width.
The paper has no tables for 16 and 64 pixels: 16 is its 32 with one block less, 64 its 128 likewise, which makes the
discriminator that of its 48 pixels. The first block of a discriminator takes the image without a ReLU before it.
All 3 x 3 convolutions in residuals start from Xavier's uniform distribution with gain sqrt(2), all else with gain 1,
biases at 0.
"""

import math
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.errors import InputError
from lightning_gen.networks.norms import ConditionalBatchNorm
from lightning_gen.types import Images, ImageShape

SIDES = (16, 32, 64, 128)
MAX_WIDENING = 16
"""Channels of the smallest maps, in widths."""

Maps = Float[Tensor, "batch channels height width"]
Classes = Float[Tensor, "batch num_classes"]


def upsamplings(image_shape: ImageShape) -> int:
    """How often a 4 x 4 map is doubled to make an image.

    Args:
        image_shape: (channels, height, width).

    Returns:
        2 to 5.

    Raises:
        InputError: when the image is not square or its side is none of 16, 32, 64 and 128.
    """
    _, height, width = image_shape
    if height != width or height not in SIDES:
        raise InputError(
            "a residual network of this kind makes square images of 16, 32, 64 or 128 pixels, "
            f"not {height} x {width}; set data.image_size"
        )
    return SIDES.index(height) + 2


def generator_widths(image_shape: ImageShape, width: int) -> list[int]:
    """Channels of the generator's 4 x 4 map and then of each block.

    Args:
        image_shape: (channels, side, side).
        width: channels next to the image.

    Returns:
        The channels, e.g. [1024, 512, 256, 128, 64] for 64 pixels and width 64.
    """
    ups = upsamplings(image_shape)
    return [width * _widening(i, image_shape) for i in reversed(range(ups + 1))]


def body_widths(image_shape: ImageShape, width: int) -> tuple[list[int], list[int]]:
    """Channels of the discriminator's blocks.

    Args:
        image_shape: (channels, side, side).
        width: channels next to the image.

    Returns:
        Those of the blocks that halve the side, and those of the blocks behind them that do not.
    """
    ups = upsamplings(image_shape)
    if _is_constant(image_shape):
        return [width] * 2, [width] * 2
    widths = [width * _widening(i, image_shape) for i in range(ups + 1)]
    return widths[:-1], widths[-1:]


def _is_constant(image_shape: ImageShape) -> bool:
    return image_shape[1] <= 32


def _widening(halvings: int, image_shape: ImageShape) -> int:
    return 1 if _is_constant(image_shape) else min(2**halvings, MAX_WIDENING)


def _norm(channels: int, num_classes: int) -> nn.Module:
    return ConditionalBatchNorm(channels, num_classes) if num_classes else nn.BatchNorm2d(channels)


def _normalise(norm: nn.Module, maps: Maps, classes: Classes) -> Maps:
    return norm(maps, classes) if isinstance(norm, ConditionalBatchNorm) else norm(maps)


def _conv(inputs: int, outputs: int, kernel_size: int = 3, gain: float = math.sqrt(2), bias: bool = True) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=bias)
    nn.init.xavier_uniform_(conv.weight, gain=gain)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class UpBlock(nn.Module):
    """The generator's block: BN, ReLU, x2, 3 x 3, BN, ReLU, 3 x 3, beside a shortcut of x2 and 1 x 1.

    The convolutions have no biases: what a bias adds to a channel reaches the image through BatchNorm alone, which
    takes it away.

    Args:
        inputs: channels of the maps.
        outputs: channels of the maps of twice the side.
        num_classes: classes that BatchNorm depends on; 0 for none.
    """

    def __init__(self, inputs: int, outputs: int, num_classes: int) -> None:
        super().__init__()
        self.norm1 = _norm(inputs, num_classes)
        self.conv1 = _conv(inputs, outputs, bias=False)
        self.norm2 = _norm(outputs, num_classes)
        self.conv2 = _conv(outputs, outputs, bias=False)
        self.shortcut = _conv(inputs, outputs, kernel_size=1, gain=1.0, bias=False)

    def forward(self, maps: Maps, classes: Classes) -> Float[Tensor, "batch outputs height2 width2"]:
        """Double the side.

        Args:
            maps: (batch, inputs, height, width).
            classes: class weights; without columns where there are no classes.

        Returns:
            (batch, outputs, 2 height, 2 width).
        """
        residual = F.relu(_normalise(self.norm1, maps, classes))
        residual = self.conv1(F.interpolate(residual, scale_factor=2.0, mode="nearest"))
        residual = self.conv2(F.relu(_normalise(self.norm2, residual, classes)))
        # 1 x 1 and nearest neighbours commute: the same maps at a quarter of the cost
        return residual + F.interpolate(self.shortcut(maps), scale_factor=2.0, mode="nearest")


class ResNetGenerator(nn.Module):
    """Latents to images through up-sampling residual blocks; the output has no activation.

    With classes, every BatchNorm is conditional on them (Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637)
    and the first, linear layer sees the noise alone.

    Args:
        latent_dim: entries of noise.
        image_shape: (channels, side, side), side 16, 32, 64 or 128.
        width: channels next to the image; the paper has 256 for 32 pixels and 64 for 128.
        num_classes: class weights behind the noise; 0 for none.
    """

    def __init__(self, latent_dim: int, image_shape: ImageShape, width: int, num_classes: int = 0) -> None:
        super().__init__()
        widths = generator_widths(image_shape, width)
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.linear = nn.Linear(latent_dim, widths[0] * 4 * 4)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.blocks = nn.ModuleList(UpBlock(inputs, outputs, num_classes) for inputs, outputs in pairwise(widths))
        self.norm = _norm(widths[-1], num_classes)
        self.conv = _conv(widths[-1], image_shape[0], gain=1.0)

    def forward(self, latents: Float[Tensor, "batch latent"]) -> Images:
        """Decode latents.

        Args:
            latents: (batch, latent_dim + num_classes): noise and, behind it, weights over the classes, one-hot or a
                mixture.

        Returns:
            Images before their last activation.
        """
        noise, classes = latents.split([self.latent_dim, self.num_classes], dim=1)
        maps = self.linear(noise).unflatten(1, (-1, 4, 4))  # (batch, widths[0], 4, 4)
        for block in self.blocks:
            maps = block(maps, classes)
        return self.conv(F.relu(_normalise(self.norm, maps, classes)))


class BodyBlock(nn.Module):
    """The discriminator's block: ReLU, 3 x 3, ReLU, 3 x 3, mean of 2 x 2, beside a shortcut of that mean and 1 x 1.

    A block that changes neither side nor channels has the identity for its shortcut.

    Args:
        inputs: channels of the maps.
        outputs: channels after the block.
        down: whether it halves the side.
        first: whether maps are images, which enter the residual as they are, without a ReLU before them (the
            "optimised" block).
        batch_norm: whether BatchNorm stands before the ReLUs.
    """

    def __init__(self, inputs: int, outputs: int, *, down: bool, first: bool = False, batch_norm: bool = False) -> None:
        super().__init__()
        self.down, self.first = down, first
        hidden = outputs if first else inputs
        self.norm1 = nn.BatchNorm2d(inputs) if batch_norm else nn.Identity()
        self.conv1 = _conv(inputs, hidden, bias=not batch_norm)
        self.norm2 = nn.BatchNorm2d(hidden) if batch_norm else nn.Identity()
        self.conv2 = _conv(hidden, outputs)
        learned = down or inputs != outputs
        self.shortcut = _conv(inputs, outputs, kernel_size=1, gain=1.0) if learned else nn.Identity()

    def forward(self, maps: Maps) -> Float[Tensor, "batch outputs height2 width2"]:
        """Transform maps.

        Args:
            maps: (batch, inputs, height, width).

        Returns:
            (batch, outputs, height, width), or half the height and width.
        """
        residual = self.conv1(maps if self.first else F.relu(self.norm1(maps)))
        residual = self.conv2(F.relu(self.norm2(residual)))
        if self.down:
            # the mean and 1 x 1 commute: the same maps at a quarter of the cost
            residual, maps = F.avg_pool2d(residual, 2), F.avg_pool2d(maps, 2)
        return residual + self.shortcut(maps)


class ResNetBody(nn.Module):
    """Images to features through residual blocks, a ReLU and a sum over positions: a discriminator without its head.

    Args:
        image_shape: (channels, side, side), side 16, 32, 64 or 128.
        width: channels next to the image; the paper has 128 for 32 pixels and 64 for 128.
        batch_norm: whether BatchNorm stands before the ReLUs of the blocks after the first.

    Attributes:
        features: outputs.
    """

    def __init__(self, image_shape: ImageShape, width: int, batch_norm: bool = False) -> None:
        super().__init__()
        down, plain = body_widths(image_shape, width)
        widths = [image_shape[0], *down, *plain]
        self.features = widths[-1]
        self.blocks = nn.Sequential(
            *(
                BodyBlock(inputs, outputs, down=i < len(down), first=i == 0, batch_norm=batch_norm and i > 0)
                for i, (inputs, outputs) in enumerate(pairwise(widths))
            )
        )

    def forward(self, images: Images) -> Float[Tensor, "batch features"]:
        """Encode images.

        Args:
            images: (batch, channels, side, side).

        Returns:
            Features, not negative.
        """
        return F.relu(self.blocks(images)).sum((2, 3))
