r"""The synthesis network of StyleGAN (Karras et al. 2019, https://arxiv.org/abs/1812.04948).

Adaptive instance normalisation (AdaIN, equation 1 of the paper) of feature map :math:`x_i` by a style :math:`(s, b)`,
an affine function of w:

.. math:: s'_i \frac{x_i - \mu(x_i)}{\sigma(x_i)} + b_i, \qquad s' = 1 + s

with the mean and the standard deviation over the pixels of one channel of one image.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.networks.equalized import EPSILON, EqualizedConv2d, EqualizedLinear
from lightning_gen.networks.fir import binomial_filter, blur
from lightning_gen.networks.progressive import GAIN, ProgressiveOutput, top_level, upsample_nearest
from lightning_gen.networks.pyramid import pyramid_channels, pyramid_sides
from lightning_gen.networks.style_generator import Noise, Synthesis
from lightning_gen.types import Images, ImageShape, Styles


def adaptive_instance_norm(
    maps: Float[Tensor, "batch channels height width"],
    scale: Float[Tensor, "batch channels"],
    shift: Float[Tensor, "batch channels"],
) -> Float[Tensor, "batch channels height width"]:
    """Normalise each feature map over its pixels, then multiply it by ``scale`` and add ``shift``."""
    normalized = F.instance_norm(maps, eps=EPSILON)
    return torch.addcmul(shift[:, :, None, None], normalized, scale[:, :, None, None])


def binomial_blur(maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    """Filter maps by [1, 2, 1] / 4 along both axes, with zeros beyond the border."""
    return blur(maps, binomial_filter(3))


class StyledLayer(nn.Module):
    """Noise, bias, leaky ReLU and AdaIN, in this order; after a convolution, or on the learned constant.

    Args:
        channels: number of feature maps.
        side: side of the feature maps.
        style_dim: number of dimensions of w.
        seed: seed of the constant noise.
    """

    noise: Tensor

    def __init__(self, channels: int, side: int, style_dim: int, seed: int) -> None:
        super().__init__()
        self.noise_strength = nn.Parameter(torch.zeros(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.affine = EqualizedLinear(style_dim, 2 * channels)
        constant = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("noise", constant, persistent=False)

    def forward(
        self,
        maps: Float[Tensor, "batch channels height width"],
        style: Float[Tensor, "batch style"],
        noise: Noise | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """Apply the layer with the given noise, or with the constant noise if it is None."""
        noise = self.noise if noise is None else noise
        maps = F.leaky_relu(maps + self.noise_strength * noise.to(maps.dtype) + self.bias, 0.2)
        scale, shift = self.affine(style).to(maps.dtype).chunk(2, dim=1)
        return adaptive_instance_norm(maps, 1 + scale, shift)


class AdaINSynthesis(Synthesis):
    """StyleGAN's synthesis network: a learned constant, two layers with a style per resolution, growing.

    Upsampling is nearest-neighbour, followed by the filter [1, 2, 1] / 4. The level is that of
    :mod:`lightning_gen.networks.progressive`.

    Args:
        image_shape: (channels, side, side), a power of two in 8..1024.
        style_dim: number of dimensions of w.
        channel_base: number of channels times the side of a feature map.
        channel_max: maximum number of channels.
        start_level: the smallest level in use.

    Attributes:
        num_styles: number of layers with a style: two per resolution.
    """

    def __init__(
        self, image_shape: ImageShape, style_dim: int, channel_base: int, channel_max: int, start_level: int = 0
    ) -> None:
        super().__init__()
        sides = pyramid_sides(image_shape)
        channels = pyramid_channels(sides, channel_base, channel_max)
        self.num_styles = 2 * len(sides)
        self.noise_sides = [side for side in sides for _ in range(2)]
        self.constant = nn.Parameter(torch.ones(channels[0], 4, 4))
        self.convolutions = nn.ModuleList()
        self.layers = nn.ModuleList()
        for i in range(self.num_styles):
            width = channels[i // 2]
            if i > 0:
                self.convolutions.append(EqualizedConv2d(channels[(i - 1) // 2], width, 3, gain=GAIN, bias=False))
            self.layers.append(StyledLayer(width, self.noise_sides[i], style_dim, seed=i))
        self.output = ProgressiveOutput(channels, image_shape[0], start_level)

    def forward(
        self,
        styles: Styles,
        noise: Sequence[Float[Tensor, "batch 1 _ _"]] | None = None,
        level: float | None = None,
    ) -> Images:
        """Generate images of full resolution; they are not clamped to [-1, 1].

        Args:
            styles: a style per layer.
            noise: normal noise per layer; None for the constant noise.
            level: the level in [start_level, L]; None for the largest. Styles and noise of unused layers are ignored.

        Returns:
            The images.
        """
        level = self.output.levels if level is None else level
        maps, outputs = self.constant.expand(styles.shape[0], -1, -1, -1), []
        for i, layer in enumerate(self.layers[: 2 * (top_level(level) + 1)]):
            if i > 0:
                if i % 2 == 0:
                    maps = binomial_blur(upsample_nearest(maps, 2))
                maps = self.convolutions[i - 1](maps)
            maps = layer(maps, styles[:, i], None if noise is None else noise[i])
            if i % 2:
                outputs.append(maps)
        return self.output(outputs, level)
