r"""The residual networks of R3GAN (Huang et al. 2024, https://arxiv.org/abs/2501.05441), without normalisation.

A residual block is :math:`x + W_3\,\sigma(b_2 + W_2 * \sigma(b_1 + W_1 x))` with the leaky ReLU :math:`\sigma` of slope
0.2, a 1 x 1 convolution :math:`W_1` to ``expansion`` times as many channels, a grouped 3 x 3 convolution :math:`W_2`
and a 1 x 1 convolution :math:`W_3`, which is initially 0. With L blocks, the weights of :math:`W_1` and :math:`W_2` are
:math:`N(0, g^2 / n)` with n inputs and the gain :math:`g = \sqrt{2 / (1 + 0.2^2)}\,L^{-1/4}`: Fixup initialisation
(Zhang et al. 2019, https://arxiv.org/abs/1901.09321) with m = 3 layers per block, which replaces normalisation.

A stage is a number of blocks at one resolution: 4, 8, 16, ... pixels. Between stages, maps are resampled by the filter
[1, 3, 3, 1] and, if the number of channels changes, mixed by a 1 x 1 convolution at the lower resolution.
"""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.errors import InputError
from lightning_gen.networks.discriminator import PackLabels
from lightning_gen.networks.fir import binomial_filter, downsample, upsample
from lightning_gen.networks.pyramid import pyramid_sides
from lightning_gen.types import Images, ImageShape

SLOPE = 0.2
BASE_SIDE = 4
Maps = Float[Tensor, "batch channels height width"]


def stage_widths(image_shape: ImageShape, width: int, full_width_side: int = 32) -> tuple[int, ...]:
    """The numbers of channels: ``width`` up to a side, then half as many at each doubling of the side.

    Args:
        image_shape: (channels, side, side), side a power of two in 8..1024.
        width: number of channels of the low resolutions; 768 in the paper.
        full_width_side: the largest side of maps with ``width`` channels; 32 in the paper.

    Returns:
        The number of channels of each stage, from 4 x 4 pixels upward.

    Raises:
        InputError: if the images have another size.
    """
    sides = pyramid_sides(image_shape)
    return tuple(max(1, width * full_width_side // max(full_width_side, side)) for side in sides)


def check_widths(widths: tuple[int, ...], expansion: int, group_width: int) -> None:
    """Check that the hidden channels of each stage are whole groups.

    Args:
        widths: number of channels of each stage.
        expansion: factor of the channels in the blocks.
        group_width: number of channels per group.

    Raises:
        InputError: if they are not.
    """
    for width in widths:
        hidden = width * expansion
        if hidden > group_width and hidden % group_width:
            raise InputError(
                f"model.group_width is {group_width} and does not divide the {hidden} = {expansion} x {width} channels "
                "of a block"
            )


def init_linear(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> nn.Conv2d | nn.Linear:
    """Initialise a layer's weights by N(0, gain^2 / n) with the number n of inputs of an output, and its bias by 0."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class R3Block(nn.Module):
    """A residual block, initially the identity.

    Args:
        width: number of channels.
        expansion: factor of the number of channels within the block.
        group_width: number of channels per group of the 3 x 3 convolution; one group if there are fewer channels.
        gain: gain of the initial weights.
    """

    def __init__(self, width: int, expansion: int, group_width: int, gain: float) -> None:
        super().__init__()
        hidden = width * expansion
        groups = max(1, hidden // group_width)
        self.expand = init_linear(nn.Conv2d(width, hidden, 1), gain)
        self.mix = init_linear(nn.Conv2d(hidden, hidden, 3, padding=1, groups=groups), gain)
        self.project = init_linear(nn.Conv2d(hidden, width, 1, bias=False), 0.0)

    def forward(self, maps: Maps) -> Maps:
        """Add the residual branch."""
        hidden = F.leaky_relu(self.expand(maps), SLOPE)
        return maps + self.project(F.leaky_relu(self.mix(hidden), SLOPE))


class Resample(nn.Module):
    """Doubles or halves the sides of maps by the filter [1, 3, 3, 1]; mixes the channels if their number changes.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        up: whether to double the sides; else they are halved.
    """

    taps: Tensor

    def __init__(self, in_channels: int, out_channels: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.channels: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.channels = init_linear(nn.Conv2d(in_channels, out_channels, 1, bias=False))
        self.register_buffer("taps", binomial_filter(4), persistent=False)

    def forward(self, maps: Maps) -> Float[Tensor, "batch out_channels out_height out_width"]:
        """Resample; the 1 x 1 convolution is applied at the lower resolution."""
        return upsample(self.channels(maps), self.taps) if self.up else self.channels(downsample(maps, self.taps))


class ClassEmbedding(nn.Linear):
    """A vector per class, for class rows: a mixture of two classes has the mixture of their vectors.

    Args:
        num_classes: number of classes.
        features: number of features.
    """

    def __init__(self, num_classes: int, features: int) -> None:
        super().__init__(num_classes, features, bias=False)
        nn.init.normal_(self.weight)


class R3Generator(nn.Module):
    """The generator, from latents to images; its last layer is linear, so that images may leave [-1, 1].

    The 4 x 4 maps are learned patterns, one per channel, scaled by a linear function of the latent and the class
    embedding.

    Args:
        latent_dim: number of latent dimensions, and of features of a class.
        channels: number of image channels.
        widths: number of channels of each stage, from 4 x 4 pixels upward.
        blocks: number of blocks per stage.
        expansion: factor of the number of channels within a block.
        group_width: number of channels per group of the 3 x 3 convolutions.
        num_classes: number of classes; 0 for an unconditional generator.
    """

    def __init__(
        self,
        latent_dim: int,
        channels: int,
        widths: tuple[int, ...],
        blocks: int = 2,
        expansion: int = 2,
        group_width: int = 16,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.classes = ClassEmbedding(num_classes, latent_dim) if num_classes else None
        self.scales = init_linear(nn.Linear(latent_dim * (2 if num_classes else 1), widths[0], bias=False))
        self.patterns = nn.Parameter(torch.randn(widths[0], BASE_SIDE, BASE_SIDE))
        stages = make_stages(widths, blocks, expansion, group_width)
        steps = [Resample(low, high, up=True) for low, high in pairwise(widths)]
        self.stages = nn.ModuleList(stages)
        self.resampling = nn.ModuleList(steps)
        self.to_images = init_linear(nn.Conv2d(widths[-1], channels, 1, bias=False))

    def forward(self, latents: Float[Tensor, "batch latent_and_classes"]) -> Images:
        """Generate images from latents, followed by class rows if the generator is conditional."""
        if self.classes is not None:
            noise, classes = latents[:, : self.latent_dim], latents[:, self.latent_dim :]
            latents = torch.cat([noise, self.classes(classes)], 1)
        maps = self.stages[0](self.scales(latents)[:, :, None, None] * self.patterns)
        for resample, stage in zip(self.resampling, self.stages[1:], strict=True):
            maps = stage(resample(maps))
        return self.to_images(maps)


class R3Discriminator(nn.Module):
    """The discriminator, the generator in reverse, with logits that have no bias.

    The 4 x 4 maps are reduced by one learned pattern per channel, then by a linear layer to the logit. A conditional
    discriminator has the logit <f, e(y)> / sqrt(n): n features f, projected on the embedding of the class (Miyato and
    Koyama 2018, https://arxiv.org/abs/1802.05637); the embeddings of a pack's labels are summed.

    Args:
        channels: number of image channels, of all images of a pack.
        widths: number of channels of each stage, from 4 x 4 pixels upward.
        blocks: number of blocks per stage.
        expansion: factor of the number of channels within a block.
        group_width: number of channels per group of the 3 x 3 convolutions.
        num_classes: number of classes; 0 for an unconditional discriminator.
    """

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...],
        blocks: int = 2,
        expansion: int = 2,
        group_width: int = 16,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        features = widths[0] if num_classes else 1
        self.from_images = init_linear(nn.Conv2d(channels, widths[-1], 1, bias=False))
        self.stages = nn.ModuleList(make_stages(widths, blocks, expansion, group_width)[::-1])
        self.resampling = nn.ModuleList([Resample(high, low, up=False) for high, low in pairwise(widths[::-1])])
        self.patterns = init_linear(nn.Conv2d(widths[0], widths[0], BASE_SIDE, groups=widths[0], bias=False))
        self.head = init_linear(nn.Linear(widths[0], features, bias=False))
        self.classes = nn.Embedding(num_classes, features) if num_classes else None

    def forward(
        self, images: Float[Tensor, "packs channels height width"], labels: PackLabels | None = None
    ) -> Float[Tensor, "packs 1"]:
        """Compute the logit of each pack; only a conditional discriminator uses the labels, and requires them."""
        maps = self.from_images(images)
        for stage, resample in zip(self.stages, self.resampling, strict=False):
            maps = resample(stage(maps))
        features = self.head(self.patterns(self.stages[-1](maps)).flatten(1))
        if self.classes is None:
            return features
        assert labels is not None  # the model rejects a batch without labels
        return (features * self.classes(labels).sum(1)).sum(1, keepdim=True) / math.sqrt(features.shape[1])


def make_stages(widths: tuple[int, ...], blocks: int, expansion: int, group_width: int) -> list[nn.Sequential]:
    """Build the blocks of all stages.

    Args:
        widths: number of channels of each stage.
        blocks: number of blocks per stage.
        expansion: factor of the number of channels within a block.
        group_width: number of channels per group of the 3 x 3 convolutions.

    Returns:
        The stages, in the order of ``widths``.

    Raises:
        InputError: if the channels of a block are not whole groups.
    """
    check_widths(widths, expansion, group_width)
    gain = math.sqrt(2 / (1 + SLOPE**2)) * (len(widths) * blocks) ** -0.25
    return [nn.Sequential(*(R3Block(width, expansion, group_width, gain) for _ in range(blocks))) for width in widths]
