"""The generator of StyleGAN2 (Karras et al. 2020, https://arxiv.org/abs/1912.04958, sections 2 and 4).

A learned constant of 4 x 4 pixels is processed by modulated convolutions, two at every resolution, whose styles are
computed from w. At each resolution the features are also mapped to an image; the images of all resolutions, upsampled
by a FIR filter, are added up.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.networks.equalized import scaled_leaky_relu
from lightning_gen.networks.fir import binomial_filter, resample, upsample
from lightning_gen.networks.fourier_features import FourierFeatures
from lightning_gen.networks.mapping import MappingNetwork
from lightning_gen.networks.modulated import ModulatedConv2d
from lightning_gen.networks.pyramid import pyramid_channels, pyramid_sides
from lightning_gen.noise import randn
from lightning_gen.types import Images, ImageShape, Latents, RandomSource, Styles, Transforms

Noise = Float[Tensor, "batch 1 _ _"]


class Synthesis(nn.Module):
    """Base class of networks from styles to images.

    Attributes:
        num_styles: number of styles of an image.
        noise_sides: side of each layer's noise; none by default.
    """

    num_styles: int
    noise_sides: Sequence[int] = ()

    def draw_noise(self, num: int, generator: RandomSource = None) -> list[Noise] | None:
        """Draw the noise of each layer for ``num`` images; None for a network without noise."""
        if not self.noise_sides:
            return None
        pixels, device = [side**2 for side in self.noise_sides], next(self.parameters()).device
        parts = randn(num, sum(pixels), generator=generator, device=device).split(pixels, 1)
        return [part.reshape(num, 1, side, side) for part, side in zip(parts, self.noise_sides, strict=True)]

    @abstractmethod
    def forward(self, styles: Styles, noise: Sequence[Noise] | None = None) -> Images:
        """Images of styles, not limited to [-1, 1]; noise of None is constant noise."""


class TransformableSynthesis(Synthesis):
    """Base class of synthesis networks whose input may be Fourier features, which can be moved.

    Attributes:
        transformable: whether it is.
    """

    transformable: bool

    @abstractmethod
    def forward(
        self, styles: Styles, noise: Sequence[Noise] | None = None, transforms: Transforms | None = None
    ) -> Images:
        """As :meth:`Synthesis.forward`; transforms of None are the identity."""


class StyleGenerator(nn.Module):
    """A mapping network and a synthesis network.

    Args:
        mapping: module from latents to styles (batch, style).
        synthesis: module from one style per layer, and noise, to images.
    """

    mapping: MappingNetwork
    synthesis: Synthesis

    def __init__(self, mapping: MappingNetwork, synthesis: Synthesis) -> None:
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis

    def styles(self, latents: Latents) -> Styles:
        """The style of latents, repeated for each layer."""
        return self.mapping(latents)[:, None].repeat(1, self.synthesis.num_styles, 1)

    def forward(self, latents: Latents) -> Images:
        """Images of latents, with constant noise."""
        return self.synthesis(self.styles(latents))


class SynthesisLayer(nn.Module):
    """A modulated 3 x 3 convolution, optionally to twice the side, followed by noise, bias and leaky ReLU.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        side: side of the output.
        style_dim: number of dimensions of w.
        up: factor of upsampling, 1 or 2.
    """

    noise: Tensor
    taps: Tensor

    def __init__(self, in_channels: int, out_channels: int, side: int, style_dim: int, up: int) -> None:
        super().__init__()
        self.side, self.up = side, up
        self.conv = ModulatedConv2d(in_channels, out_channels, 3, style_dim, up=up)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        constant = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(2 * side + up))
        self.register_buffer("noise", constant, persistent=False)
        self.register_buffer("taps", binomial_filter(4), persistent=False)

    def forward(
        self,
        features: Float[Tensor, "batch in_channels height width"],
        style: Float[Tensor, "batch style"],
        noise: Noise | None = None,
    ) -> Float[Tensor, "batch out_channels side side"]:
        """Apply the layer; noise of None is the layer's constant noise."""
        features = self.conv(features, style)
        if self.up > 1:
            features = resample(features, self.taps, padding=(1, 1), gain=self.up**2)
        noise = self.noise if noise is None else noise
        return scaled_leaky_relu(features + (noise * self.noise_strength).to(features) + self.bias[:, None, None])


class ToImage(nn.Module):
    """A modulated 1 x 1 convolution to the channels of the image, without demodulation.

    Args:
        in_channels: number of input channels.
        image_channels: number of channels of the image.
        style_dim: number of dimensions of w.
    """

    def __init__(self, in_channels: int, image_channels: int, style_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, image_channels, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(image_channels))

    def forward(
        self, features: Float[Tensor, "batch in_channels height width"], style: Float[Tensor, "batch style"]
    ) -> Images:
        """Map features to an image."""
        return self.conv(features, style) + self.bias[:, None, None]


class SkipSynthesis(TransformableSynthesis):
    """StyleGAN2's synthesis network with output skips (configuration F).

    Args:
        image_shape: (channels, side, side), a power of two in 8..1024.
        style_dim: number of dimensions of w.
        channel_base: number of channels times the side of a feature map.
        channel_max: maximum number of channels.
        fourier_features: whether the input is Fourier features instead of a learned constant (Karras et al. 2021,
            https://arxiv.org/abs/2106.12423, configuration B).

    Attributes:
        num_styles: number of styles: 2 log2(side) - 2. The image of a resolution and the first convolution of the next
            one have the same style.
    """

    taps: Tensor

    def __init__(
        self,
        image_shape: ImageShape,
        style_dim: int,
        channel_base: int,
        channel_max: int,
        fourier_features: bool = False,
    ) -> None:
        super().__init__()
        sides = pyramid_sides(image_shape)
        channels = pyramid_channels(sides, channel_base, channel_max)
        self.num_styles = 2 * len(sides)
        self.transformable = fourier_features
        if fourier_features:
            self.features = FourierFeatures(channels[0], size=4, rate=4, cutoff=2.0)
        else:
            self.constant = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        layers = [SynthesisLayer(channels[0], channels[0], 4, style_dim, up=1)]
        for i in range(1, len(sides)):
            layers += [
                SynthesisLayer(channels[i - 1], channels[i], sides[i], style_dim, up=2),
                SynthesisLayer(channels[i], channels[i], sides[i], style_dim, up=1),
            ]
        self.layers = nn.ModuleList(layers)
        self.noise_sides = [layer.side for layer in layers]
        self.to_images = nn.ModuleList(ToImage(width, image_shape[0], style_dim) for width in channels)
        self.register_buffer("taps", binomial_filter(4), persistent=False)

    def forward(
        self, styles: Styles, noise: Sequence[Noise] | None = None, transforms: Transforms | None = None
    ) -> Images:
        """Images of styles, not limited to [-1, 1].

        Args:
            styles: the styles.
            noise: noise of each layer; None for constant noise.
            transforms: transforms of the Fourier features; None for the identity, and for a constant input.

        Returns:
            The images.
        """
        noises = [None] * len(self.layers) if noise is None else noise
        inputs = self.features(transforms) if self.transformable else self.constant
        features = self.layers[0](inputs.expand(styles.shape[0], -1, -1, -1), styles[:, 0], noises[0])
        images = self.to_images[0](features, styles[:, 1])
        for i in range(1, len(self.to_images)):
            features = self.layers[2 * i - 1](features, styles[:, 2 * i - 1], noises[2 * i - 1])
            features = self.layers[2 * i](features, styles[:, 2 * i], noises[2 * i])
            images = upsample(images, self.taps) + self.to_images[i](features, styles[:, 2 * i + 1])
        return images
