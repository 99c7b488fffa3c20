r"""Layers with an equalised learning rate (Karras et al. 2018, https://arxiv.org/abs/1710.10196, section 4.1).

Weights are stored with unit variance and scaled in each forward pass by :math:`g / \sqrt{n}`, with the number n of
inputs of an output and a gain g, so that Adam's steps have the same relative size in every layer. With a learning-rate
multiplier m, a parameter w is stored as w / m and used as m w: one step of Adam changes w by m times as much.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-8


def scaled_leaky_relu(features: Tensor) -> Tensor:
    """The leaky ReLU with slope 0.2, times sqrt(2), which about preserves the mean square of normal features."""
    return F.leaky_relu(features, 0.2) * math.sqrt(2)


def normalize_2nd_moment(features: Tensor, dim: int = 1) -> Tensor:
    """Divide features by their root mean square over a dimension: x / sqrt(mean(x^2) + 1e-8) (pixel norm)."""
    return features * (features.square().mean(dim, keepdim=True) + EPSILON).rsqrt()


class EqualizedLinear(nn.Module):
    """A linear layer with an equalised learning rate.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        gain: the gain g; sqrt(2) is He's for a plain leaky ReLU.
        lr_multiplier: the multiplier m of the learning rate.
        bias: whether there is a bias.
        bias_init: initial value of the bias.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        gain: float = 1.0,
        lr_multiplier: float = 1.0,
        bias: bool = True,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.lr_multiplier = lr_multiplier
        self.scale = gain * lr_multiplier / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier)) if bias else None

    def forward(self, features: Float[Tensor, "batch in_features"]) -> Float[Tensor, "batch out_features"]:
        """Apply the layer."""
        bias = None if self.bias is None else self.bias * self.lr_multiplier
        return F.linear(features, self.weight * self.scale, bias)


class EqualizedConv2d(nn.Module):
    """A convolution with an equalised learning rate, stride 1, odd kernels and zero padding to the same size.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        kernel_size: side of the kernel.
        gain: the gain g.
        bias: whether there is a bias, initially 0.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, gain: float = 1.0, bias: bool = True
    ) -> None:
        super().__init__()
        self.scale = gain / math.sqrt(in_channels * kernel_size**2)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.padding = kernel_size // 2

    def forward(
        self, features: Float[Tensor, "batch in_channels height width"], stride: int = 1, padding: int | None = None
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        """Apply the convolution, with another stride and padding if given."""
        padding = self.padding if padding is None else padding
        return F.conv2d(features, self.weight * self.scale, self.bias, stride, padding)


class EqualizedMLP(nn.Sequential):
    """Linear layers with an equalised learning rate, each followed by the scaled leaky ReLU.

    Args:
        in_features: number of inputs.
        out_features: number of outputs, and of hidden features.
        layers: number of layers.
        lr_multiplier: the multiplier of the learning rate.
    """

    def __init__(self, in_features: int, out_features: int, layers: int, lr_multiplier: float = 0.01) -> None:
        widths = [in_features] + [out_features] * layers
        super().__init__(
            *(EqualizedLinear(widths[i], widths[i + 1], lr_multiplier=lr_multiplier) for i in range(layers))
        )

    def forward(self, features: Float[Tensor, "batch in_features"]) -> Float[Tensor, "batch out_features"]:
        """Apply the layers."""
        for layer in self:
            features = scaled_leaky_relu(layer(features))
        return features
