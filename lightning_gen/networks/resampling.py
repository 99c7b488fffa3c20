"""Layers that halve and double the sides of feature maps.

A strided convolution aliases, and a transposed one whose kernel is not a multiple of its stride adds unequal numbers of
taps to neighbouring pixels, which shows as a checkerboard (Odena et al. 2016, https://doi.org/10.23915/distill.00003).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.networks.unet import Upsample

Maps = Float[Tensor, "batch channels height width"]
Upsampling = Literal["nearest", "bilinear", "transposed"]


class BlurDownsample(nn.Module):
    """The filter [1, 2, 1] / 4 along both axes with reflected borders, at every second pixel.

    Zhang 2019, https://arxiv.org/abs/1904.11486. The sides become ceil(side / 2); they must be at least 2.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(taps, taps)[None, None], persistent=False)

    def forward(self, maps: Maps) -> Float[Tensor, "batch channels height2 width2"]:
        """Blur and subsample."""
        channels = maps.shape[1]
        padded = F.pad(maps, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.kernel.to(maps.dtype).expand(channels, 1, 3, 3), stride=2, groups=channels)


def make_upsampling(
    kind: Upsampling, in_channels: int, out_channels: int, kernel_size: int = 3, bias: bool = True
) -> nn.Module:
    """A layer that doubles the sides of maps.

    Args:
        kind: ``nearest`` or ``bilinear`` interpolation, followed by a 3 x 3 convolution, or one ``transposed``
            convolution with stride 2. Bilinear interpolation is the filter [1, 3, 3, 1] / 4 of the zero-stuffed maps.
        in_channels: number of input channels.
        out_channels: number of output channels.
        kernel_size: side of the transposed convolution's kernel, 3 or 4.
        bias: whether the convolution has a bias.

    Returns:
        The layer.
    """
    if kind == "nearest":
        return Upsample(in_channels, out_channels, bias)
    if kind == "bilinear":
        convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), convolution)
    return nn.ConvTranspose2d(
        in_channels, out_channels, kernel_size, stride=2, padding=1, output_padding=kernel_size % 2, bias=bias
    )
