"""The alias-free synthesis network of StyleGAN3 (Karras et al. 2021, https://arxiv.org/abs/2106.12423).

Feature maps are samples of continuous signals whose band limit each layer respects: a convolution with a band-limited
kernel, and a leaky ReLU at twice the sampling rate or more, between an interpolating and a band-limiting filter. The
network is then equivariant to translation: as the Fourier features move, so does the image. With 1 x 1 kernels and
radial filters (configuration R) it is equivariant to rotation as well.

``alias_free_filters.py`` specifies the layers.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.distributed import rank_and_world_size
from lightning_gen.networks.alias_free_filters import (
    SignalSpec,
    kaiser_filter,
    radial_filter,
    resampling_matrix,
    signal_specs,
)
from lightning_gen.networks.equalized import EqualizedLinear, normalize_2nd_moment
from lightning_gen.networks.fourier_features import FourierFeatures, rigid_transforms
from lightning_gen.networks.modulated import modulated_conv2d
from lightning_gen.networks.style_generator import Noise, ToImage, TransformableSynthesis
from lightning_gen.types import Images, ImageShape, Styles, Transforms

AliasFreeConfig = Literal["t", "r"]
TAPS_PER_SAMPLE = 6
"""Length of a filter in samples of the lower of its two sampling rates."""
MAGNITUDE_HALF_LIFE = 20_000
"""Half-life in images of the average magnitude of a layer's input."""
OUTPUT_SCALE = 0.25
"""Factor of the image, with which untrained networks have about the contrast of images."""

Features = Float[Tensor, "batch channels size size"]


class MagnitudeNorm(nn.Module):
    """Divides features by the root of the moving average of their mean square, one number for all.

    In contrast to a normalisation by the current statistics, the scale depends neither on the image nor on the batch.
    """

    mean_square: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.half_life: float = MAGNITUDE_HALF_LIFE
        self.register_buffer("mean_square", torch.ones(()))

    def forward(self, features: Features) -> Features:
        """Divide the features; in training, update the average before."""
        if self.training:
            with torch.no_grad():
                decay = 0.5 ** (len(features) * rank_and_world_size()[1] / self.half_life)
                current = features.detach().float().square().mean()
                self.mean_square.lerp_(current.to(self.mean_square), 1 - decay)
        return features * self.mean_square.rsqrt().to(features.dtype)


class FilteredLeakyReLU(nn.Module):
    """Upsampling, leaky ReLU with slope 0.2 and gain sqrt(2), and downsampling, all centred.

    The features have at least twice the larger of both sampling rates at the nonlinearity, whose harmonics the second
    filter removes.

    Args:
        in_size: height and width of the input.
        before: the signal that the input samples.
        after: the signal to output.
        radial: whether the second filter is radial.
    """

    up_matrix: Tensor
    down_matrix: Tensor
    down_taps: Tensor

    def __init__(self, in_size: int, before: SignalSpec, after: SignalSpec, radial: bool) -> None:
        super().__init__()
        rate = 2 * max(before.rate, after.rate)
        up, self.down = rate // before.rate, rate // after.rate
        up_taps, down_taps = TAPS_PER_SAMPLE * up, TAPS_PER_SAMPLE * self.down
        fine_size = (after.size - 1) * self.down + down_taps
        # the centre of the input becomes the centre of the output
        padding = ((after.size - 1) * self.down + up_taps + down_taps - 2 - (in_size - 1) * up) // 2
        taps = kaiser_filter(up_taps, before.cutoff, before.half_width, rate) * 2**0.25  # sqrt(2) over both axes
        up_matrix = resampling_matrix(taps, in_size, fine_size, up=up, padding=padding)
        self.register_buffer("up_matrix", up_matrix, persistent=False)
        self.radial = radial
        if radial:
            plane = radial_filter(down_taps, after.cutoff, after.half_width, rate).float()
            self.register_buffer("down_taps", plane[None, None], persistent=False)
        else:
            taps = kaiser_filter(down_taps, after.cutoff, after.half_width, rate)
            down_matrix = resampling_matrix(taps, fine_size, after.size, down=self.down)
            self.register_buffer("down_matrix", down_matrix, persistent=False)

    def forward(self, features: Features) -> Float[Tensor, "batch channels out_size out_size"]:
        """Apply the layer."""
        fine = F.leaky_relu(self.up_matrix @ (features @ self.up_matrix.T), 0.2, inplace=True)
        if not self.radial:
            return self.down_matrix @ (fine @ self.down_matrix.T)
        coarse = F.conv2d(fine.flatten(0, 1)[:, None], self.down_taps.to(fine.dtype), stride=self.down)
        return coarse[:, 0].unflatten(0, fine.shape[:2])


class AliasFreeLayer(nn.Module):
    """A modulated convolution with full padding, a bias, and a leaky ReLU between filters.

    Weights and styles are normalised before the modulation, which changes nothing but keeps numbers small.

    Args:
        before: the signal that the input samples.
        after: the signal to output.
        style_dim: number of dimensions of w.
        kernel_size: side of the kernel.
        radial: whether the filter after the nonlinearity is radial.
    """

    def __init__(self, before: SignalSpec, after: SignalSpec, style_dim: int, kernel_size: int, radial: bool) -> None:
        super().__init__()
        self.norm = MagnitudeNorm()
        self.affine = EqualizedLinear(style_dim, before.channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.padding = kernel_size - 1
        self.activation = FilteredLeakyReLU(before.size + self.padding, before, after, radial)

    def forward(
        self, features: Float[Tensor, "batch in_channels size size"], style: Float[Tensor, "batch style"]
    ) -> Float[Tensor, "batch out_channels out_size out_size"]:
        """Apply the layer."""
        weight = normalize_2nd_moment(self.weight.flatten(1)).view_as(self.weight)
        scales = normalize_2nd_moment(self.affine(style))
        features = modulated_conv2d(self.norm(features), weight, scales, padding=self.padding)
        return self.activation(features + self.bias[:, None, None].to(features.dtype))


class AliasFreeSynthesis(TransformableSynthesis):
    """Fourier features, moved by a learned rigid transform, alias-free layers and a 1 x 1 convolution to the image.

    Args:
        image_shape: (channels, side, side), a power of two of at least 8.
        style_dim: number of dimensions of w.
        config: ``t``, equivariant to translation: 3 x 3 kernels and separable filters; or ``r``, also to rotation:
            1 x 1 kernels, radial filters except in critically sampled layers, and twice as many channels.
        num_layers: number of layers between the Fourier features and the last convolution.
        num_critical: number of critically sampled layers at the end.
        margin: samples beyond each side of the image that feature maps have.
        channel_base: a layer with cutoff f_c has channel_base / (2 f_c) channels.
        channel_max: the largest number of channels.

    Attributes:
        num_styles: number of styles, ``num_layers + 2``.

    Raises:
        InputError: if a value is out of range.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        style_dim: int,
        config: AliasFreeConfig = "t",
        num_layers: int = 14,
        num_critical: int = 2,
        margin: int = 10,
        channel_base: int = 32768,
        channel_max: int = 512,
    ) -> None:
        super().__init__()
        self.transformable = True
        kernel_size, factor = (3, 1) if config == "t" else (1, 2)
        specs = signal_specs(
            image_shape,
            num_layers=num_layers,
            num_critical=num_critical,
            margin=margin,
            channel_base=factor * channel_base,
            channel_max=factor * channel_max,
        )
        first = specs[0]
        self.num_styles = num_layers + 2
        self.affine = EqualizedLinear(style_dim, 4, bias=False)
        self.affine.weight.detach().zero_()
        self.affine_bias = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0]))  # no rotation, no translation
        self.features = FourierFeatures(first.channels, first.size, first.rate, first.cutoff)
        self.layers = nn.ModuleList(
            AliasFreeLayer(before, after, style_dim, kernel_size, config == "r" and not after.critical)
            for before, after in zip([first, *specs[:-1]], specs, strict=True)
        )
        self.norm = MagnitudeNorm()
        self.to_image = ToImage(specs[-1].channels, image_shape[0], style_dim)

    def forward(
        self, styles: Styles, noise: Sequence[Noise] | None = None, transforms: Transforms | None = None
    ) -> Images:
        """Images of styles, not limited to [-1, 1].

        Args:
            styles: the styles.
            noise: has no effect, as there is no noise.
            transforms: applied to the image after the learned transform; None for the identity.

        Returns:
            The images.
        """
        with torch.autocast(styles.device.type, enabled=False):  # positions need float32
            moved = rigid_transforms(self.affine(styles[:, 0].to(self.affine_bias)) + self.affine_bias)
            moved = moved if transforms is None else moved @ transforms.to(moved)
        features = self.features(moved)
        for i, layer in enumerate(self.layers, 1):
            features = layer(features, styles[:, i])
        return self.to_image(self.norm(features), styles[:, -1]) * OUTPUT_SCALE
