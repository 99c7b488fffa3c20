"""Modulated convolution of StyleGAN2 (Karras et al. 2020, https://arxiv.org/abs/1912.04958, equations 1 to 3).

    w'_ijk = s_i w_ijk,    w''_ijk = w'_ijk / sqrt(sum_{i,k} w'_ijk^2 + 1e-8)

with the style s_i of input channel i, output channel j and position k in the kernel. The weights differ between the
images of a batch. Scaling the inputs by s_i and the outputs by the inverse square root gives the same result with
ordinary convolutions, which are several times as fast as grouped convolutions with one group per image.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.networks.equalized import EPSILON, EqualizedLinear


def modulated_conv2d(
    features: Float[Tensor, "batch in_channels height width"],
    weight: Float[Tensor, "out_channels in_channels kernel kernel"],
    styles: Float[Tensor, "batch in_channels"],
    *,
    demodulate: bool = True,
    up: int = 1,
    padding: int | None = None,
) -> Float[Tensor, "batch out_channels out_height out_width"]:
    """Convolve with weights that are scaled by each image's style.

    Args:
        features: the input.
        weight: the weights w, for all images.
        styles: the scale s of each input channel.
        demodulate: whether outputs are scaled to unit variance for inputs of unit variance.
        up: stride of the transposed convolution that is used if ``up`` > 1; no padding is removed from its result.
        padding: zero padding of each side if ``up`` is 1; None for half the kernel, which keeps the size.

    Returns:
        Features of the same size, or of side ``up * (side - 1) + kernel``.
    """
    inputs = features * styles[:, :, None, None].to(features.dtype)
    if up > 1:
        outputs = F.conv_transpose2d(inputs, weight.transpose(0, 1), stride=up)
    else:
        outputs = F.conv2d(inputs, weight, padding=weight.shape[-1] // 2 if padding is None else padding)
    if not demodulate:
        return outputs
    with torch.autocast(features.device.type, enabled=False):
        squares = weight.square().sum((2, 3))  # (out_channels, in_channels)
        scale = (F.linear(styles.to(squares.dtype).square(), squares) + EPSILON).rsqrt()
    return outputs * scale[:, :, None, None].to(outputs.dtype)


class ModulatedConv2d(nn.Module):
    """A modulated convolution whose style is an affine function of w, initially 1 on average.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        kernel_size: side of the kernel.
        style_dim: number of dimensions of w.
        demodulate: whether the weights are demodulated. Without demodulation they are divided by the square root of
            the number of inputs of an output.
        up: factor of upsampling, by a transposed convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        style_dim: int,
        *,
        demodulate: bool = True,
        up: int = 1,
    ) -> None:
        super().__init__()
        self.demodulate, self.up = demodulate, up
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.affine = EqualizedLinear(style_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))

    def forward(
        self, features: Float[Tensor, "batch in_channels height width"], style: Float[Tensor, "batch style"]
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        """Convolve with the weights of each image's w."""
        weight = self.weight * self.scale
        return modulated_conv2d(features, weight, self.affine(style), demodulate=self.demodulate, up=self.up)
