r"""Networks that grow with training: ProGAN (Karras et al. 2018, https://arxiv.org/abs/1710.10196).

All layers exist from the start, and a continuous level t in [0, L] says which of them are used. At an integer t, images
have the resolution :math:`4 \cdot 2^t`. Between n - 1 and n, the layers of resolution :math:`4 \cdot 2^n` fade in with
the weight a = t - (n - 1) (figure 2 of the paper):

    generator:      (1 - a) up(toRGB_{n-1}(h_{n-1})) + a toRGB_n(h_n)
    discriminator:  (1 - a) fromRGB_{n-1}(down(x)) + a block_n(fromRGB_n(x))
    real images:    (1 - a) up(down(x)) + a x

with nearest-neighbour upsampling and the mean of 2 x 2 pixels. Images always have the full resolution
:math:`4 \cdot 2^L`: generated images are upsampled to it, and the discriminator's inputs are averaged down from it. The
gradient of a logit with respect to an image, and with it a gradient penalty, is therefore continuous in t.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.networks.discriminator import PackLabels
from lightning_gen.networks.equalized import EqualizedConv2d, EqualizedLinear, normalize_2nd_moment
from lightning_gen.networks.minibatch import MinibatchStddev
from lightning_gen.networks.pyramid import pyramid_channels, pyramid_sides
from lightning_gen.types import Images, ImageShape

GAIN = math.sqrt(2)
"""He's gain of a layer that a leaky ReLU follows."""
Maps = Float[Tensor, "batch _ _ _"]


def top_level(level: float) -> int:
    """The index n of the highest resolution in use: the smallest integer that is not below the level."""
    return math.ceil(level)


def fade_weight(level: float) -> float:
    """The weight a in (0, 1] of the highest resolution in use; 1 at integer levels."""
    return level - top_level(level) + 1


def upsample_nearest(images: Maps, factor: int) -> Maps:
    """Repeat each pixel ``factor`` times along both axes."""
    return images if factor == 1 else F.interpolate(images, scale_factor=factor, mode="nearest")


def mean_pool(images: Maps, factor: int) -> Maps:
    """The means of squares of ``factor`` x ``factor`` pixels."""
    return images if factor == 1 else F.avg_pool2d(images, factor)


def at_level(images: Images, level: float, levels: int) -> Images:
    """Reduce the detail of images to a level, at their size.

    Args:
        images: images of side 4 * 2^levels.
        level: the level t in [0, levels].
        levels: the largest level L.

    Returns:
        The fade (1 - a) up(down(x)) + a x of the images x at the resolution in use, upsampled to the input's size; the
        input itself at level ``levels``.
    """
    factor, weight = 2 ** (levels - top_level(level)), fade_weight(level)
    fine = upsample_nearest(mean_pool(images, factor), factor)
    if weight == 1:
        return fine
    return torch.lerp(upsample_nearest(mean_pool(images, 2 * factor), 2 * factor), fine, weight)


class ProgressiveOutput(nn.Module):
    """The 1 x 1 convolutions from feature maps to pixels of all levels, and the fade between two of them.

    Args:
        channels: number of channels of the feature maps of each level, from 4 x 4 on.
        image_channels: number of channels of the images.
        start_level: the smallest level in use; the levels below it have no convolution.
    """

    def __init__(self, channels: Sequence[int], image_channels: int, start_level: int) -> None:
        super().__init__()
        self.levels, self.start_level = len(channels) - 1, start_level
        self.layers = nn.ModuleList(EqualizedConv2d(width, image_channels, 1) for width in channels[start_level:])

    def forward(self, maps: Sequence[Maps], level: float) -> Images:
        """Compute images at full resolution, without a final non-linearity.

        Args:
            maps: the feature maps of the levels 0 to ceil(level).
            level: the level in [start_level, levels].

        Returns:
            The images, whose mean square is about 1 at initialisation.
        """
        top, weight = top_level(level), fade_weight(level)
        layer = top - self.start_level
        images = self.layers[layer](maps[top])
        if weight < 1:
            images = torch.lerp(upsample_nearest(self.layers[layer - 1](maps[top - 1]), 2), images, weight)
        return upsample_nearest(images, 2 ** (self.levels - top))


class PixelNorm(nn.Module):
    """Divides the feature vector of each pixel by its root mean square (section 4.2 of the paper)."""

    def forward(self, maps: Maps) -> Maps:
        """Normalise the channels."""
        return normalize_2nd_moment(maps)


def convolution(in_channels: int, out_channels: int, kernel_size: int = 3) -> list[nn.Module]:
    """A convolution with He's gain, followed by a leaky ReLU with slope 0.2."""
    return [EqualizedConv2d(in_channels, out_channels, kernel_size, gain=GAIN), nn.LeakyReLU(0.2)]


class ProgressiveGenerator(nn.Module):
    """ProGAN's generator: normalised latents, then blocks of convolutions with pixel norm.

    Args:
        latent_dim: number of latent dimensions.
        image_shape: (channels, side, side), a power of two in 8..1024.
        channel_base: number of channels times the side of a feature map.
        channel_max: maximum number of channels.
        start_level: the smallest level in use.
    """

    def __init__(
        self, latent_dim: int, image_shape: ImageShape, channel_base: int, channel_max: int, start_level: int = 0
    ) -> None:
        super().__init__()
        channels = pyramid_channels(pyramid_sides(image_shape), channel_base, channel_max)
        first = channels[0]
        # the output of a latent is a 4 x 4 map: the gain is that of 16 positions, as in the authors' experiments
        self.input = nn.Sequential(
            EqualizedLinear(latent_dim, 16 * first, gain=GAIN / 4),
            nn.Unflatten(1, (first, 4, 4)),
            nn.LeakyReLU(0.2),
            PixelNorm(),
            *convolution(first, first),
            PixelNorm(),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2),
                *convolution(channels[i], channels[i + 1]),
                PixelNorm(),
                *convolution(channels[i + 1], channels[i + 1]),
                PixelNorm(),
            )
            for i in range(len(channels) - 1)
        )
        self.output = ProgressiveOutput(channels, image_shape[0], start_level)

    def forward(self, latents: Float[Tensor, "batch latent_dim"], level: float | None = None) -> Images:
        """Generate images of full resolution at a level, by default the largest; they are not clamped to [-1, 1]."""
        level = self.output.levels if level is None else level
        maps = [self.input(normalize_2nd_moment(latents))]
        for block in self.blocks[: top_level(level)]:
            maps.append(block(maps[-1]))
        return self.output(maps, level)


class ProgressiveDiscriminator(nn.Module):
    """ProGAN's discriminator, the generator's mirror image, with minibatch standard deviation at 4 x 4.

    Args:
        image_shape: (channels, side, side) of an input, i.e. of a pack; the side is a power of two in 8..1024.
        channel_base: number of channels times the side of a feature map.
        channel_max: maximum number of channels.
        start_level: the smallest level in use.
        prefilter: a filter of feature maps that precedes each downsampling; None for none.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        channel_base: int,
        channel_max: int,
        start_level: int = 0,
        prefilter: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        channels = pyramid_channels(pyramid_sides(image_shape), channel_base, channel_max)
        self.levels, self.start_level, self.prefilter = len(channels) - 1, start_level, prefilter
        self.inputs = nn.ModuleList(
            nn.Sequential(*convolution(image_shape[0], width, 1)) for width in channels[start_level:]
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*convolution(channels[i + 1], channels[i + 1]), *convolution(channels[i + 1], channels[i]))
            for i in range(self.levels)
        )
        first = channels[0]
        self.output = nn.Sequential(
            MinibatchStddev(),
            *convolution(first + 1, first),
            nn.Flatten(),
            EqualizedLinear(16 * first, first, gain=GAIN),
            nn.LeakyReLU(0.2),
            EqualizedLinear(first, 1),
        )

    def forward(
        self,
        images: Float[Tensor, "packs channels height width"],
        labels: PackLabels | None = None,
        level: float | None = None,
    ) -> Float[Tensor, "packs 1"]:
        """Compute the logits of images of full resolution at a level, by default the largest; labels are ignored."""
        level = self.levels if level is None else level
        top, weight = top_level(level), fade_weight(level)
        images = mean_pool(images, 2 ** (self.levels - top))
        maps = self.inputs[top - self.start_level](images)
        for i in reversed(range(top)):
            maps = self.blocks[i](maps)
            maps = mean_pool(maps if self.prefilter is None else self.prefilter(maps), 2)
            if i == top - 1 and weight < 1:
                maps = torch.lerp(self.inputs[i - self.start_level](mean_pool(images, 2)), maps, weight)
        return self.output(maps)
