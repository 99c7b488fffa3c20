"""The residual discriminator of StyleGAN2 (Karras et al. 2020, https://arxiv.org/abs/1912.04958, section 4.1)."""

import math

from jaxtyping import Float, Int64
from torch import Tensor, nn

from lightning_gen.networks.equalized import (
    EqualizedConv2d,
    EqualizedLinear,
    EqualizedMLP,
    normalize_2nd_moment,
    scaled_leaky_relu,
)
from lightning_gen.networks.fir import binomial_filter, downsample, resample
from lightning_gen.networks.minibatch import MinibatchStddev
from lightning_gen.networks.pyramid import pyramid_channels, pyramid_sides
from lightning_gen.types import ImageShape

PackLabels = Int64[Tensor, "packs packing"]


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions to half the side, and a 1 x 1 convolution beside them; the sum is divided by sqrt(2).

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
    """

    taps: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = EqualizedConv2d(in_channels, in_channels, 3)
        self.second = EqualizedConv2d(in_channels, out_channels, 3)
        self.skip = EqualizedConv2d(in_channels, out_channels, 1, bias=False)
        self.register_buffer("taps", binomial_filter(4), persistent=False)

    def forward(
        self, features: Float[Tensor, "packs in_channels height width"]
    ) -> Float[Tensor, "packs out_channels half_height half_width"]:
        """Apply the block."""
        skipped = self.skip(downsample(features, self.taps))
        features = scaled_leaky_relu(self.first(features))
        blurred = resample(features, self.taps, padding=(2, 2))
        features = scaled_leaky_relu(self.second(blurred, stride=2, padding=0))
        return (features + skipped) / math.sqrt(2)


class StyleDiscriminator(nn.Module):
    """Residual blocks down to 4 x 4 pixels, the standard deviation of the minibatch, and two linear layers.

    With classes, the logit is <D(x), map(y)> / sqrt(n) with n features and a mapping network of the class (projection
    discriminator); the embeddings of a pack's classes are added.

    Args:
        image_shape: (channels, side, side) of the input, i.e. of a pack; the side is a power of two in 8..1024.
        channel_base: number of channels times the side of a feature map.
        channel_max: maximum number of channels.
        stddev_group: number of images over which the standard deviation is taken; 1 for no such layer.
        num_classes: number of classes; 0 for an unconditional discriminator.
        mapping_layers: number of layers of the mapping network of the class.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        channel_base: int,
        channel_max: int,
        stddev_group: int = 4,
        num_classes: int = 0,
        mapping_layers: int = 8,
    ) -> None:
        super().__init__()
        sides = pyramid_sides(image_shape)[::-1]
        channels = pyramid_channels(sides, channel_base, channel_max)
        last = channels[-1]
        self.from_image = EqualizedConv2d(image_shape[0], channels[0], 1)
        self.blocks = nn.Sequential(
            *(ResidualBlock(channels[i], channels[i + 1]) for i in range(len(channels) - 1)),
        )
        self.minibatch_layer = MinibatchStddev(stddev_group) if stddev_group > 1 else nn.Identity()
        self.conv = EqualizedConv2d(last + (stddev_group > 1), last, 3)
        self.linear = EqualizedLinear(last * 16, last)
        self.head = EqualizedLinear(last, last if num_classes else 1)
        self.classes = nn.Embedding(num_classes, last) if num_classes else None
        self.class_mapping = EqualizedMLP(last, last, mapping_layers) if num_classes else None

    def forward(
        self, images: Float[Tensor, "packs channels height width"], labels: PackLabels | None = None
    ) -> Float[Tensor, "packs 1"]:
        """The logit of each pack; labels are required by a conditional discriminator only."""
        features = self.blocks(scaled_leaky_relu(self.from_image(images)))
        features = scaled_leaky_relu(self.conv(self.minibatch_layer(features)))
        outputs = self.head(scaled_leaky_relu(self.linear(features.flatten(1))))
        if self.classes is None or self.class_mapping is None:
            return outputs
        assert labels is not None  # the model rejects a batch without labels
        embedded = self.class_mapping(normalize_2nd_moment(self.classes(labels).sum(1)))
        return (outputs * embedded).sum(1, keepdim=True) / math.sqrt(outputs.shape[1])
