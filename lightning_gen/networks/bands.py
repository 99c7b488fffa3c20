"""A filter that amplifies the octaves of an image's frequencies separately.

From the low-pass filter l = h * h~ / 2 of the wavelet sym2 and its complement d = 1 - l, with z-transforms L and D, the
four bands from the lowest to the highest are

    L(z) L(z^2) L(z^4),    L(z) L(z^2) D(z^4),    L(z) D(z^2),    D(z):

[0, pi/8], [pi/8, pi/4], [pi/4, pi/2] and [pi/2, pi], approximately. Their sum is 1 (Karras et al. 2020,
https://arxiv.org/abs/2006.06676, appendix B).
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lightning_gen.networks.filter_matrices import along_both_axes, banded, reflection
from lightning_gen.types import Images

BandGains = Float[Tensor, "batch 4"]
"""Factors of the bands of each image, from the lowest to the highest band."""


def normalized_gains(gains: BandGains) -> BandGains:
    """Scale gains to keep the expected power of a natural image, of which the lowest band has 10/13.

    (10 g_1^2 + g_2^2 + g_3^2 + g_4^2) / 13 = 1.
    """
    squares = gains.square()
    return gains * ((squares.sum(1, keepdim=True) + 9 * squares[:, :1]) / 13).rsqrt()


def amplify_bands(images: Images, gains: BandGains) -> Images:
    """Multiply the bands of images by gains, along rows and columns, with reflected borders.

    Gains of 1 return the image bit for bit.
    """
    gains = gains.to(images.dtype)
    rows, columns = (
        torch.einsum("bi,ijk->bjk", gains, band_matrices(side, images.device, images.dtype))[:, None]
        for side in images.shape[2:]
    )
    changed = (gains != 1).any(1)
    return torch.where(changed[:, None, None, None], along_both_axes(images, rows, columns), images)


@cache
def band_matrices(side: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "4 side side"]:
    """The matrices of the four filters along an axis of ``side`` pixels."""
    with torch.inference_mode(False):
        index = torch.arange(-21, side + 21) - torch.arange(side)[:, None] + 21
        padding = reflection(side, margin=21)
        return torch.stack([banded(band, index) @ padding for band in band_filters()]).to(device, dtype)


def band_filters() -> Float[Tensor, "4 43"]:
    """The symmetric taps of the four bands, from the lowest to the highest, centred at tap 21."""
    root = math.sqrt(3)
    sym2 = torch.tensor([1 + root, 3 + root, 3 - root, 1 - root], dtype=torch.float64) / 8  # h / sqrt(2)
    low = _convolve(sym2, sym2.flip(0))  # 7 taps with a sum of 1
    high = -low
    high[3] += 1
    bands = [high]
    product = low
    for spacing in (2, 4):
        bands.append(_convolve(product, _spread(high, spacing)))
        product = _convolve(product, _spread(low, spacing))
    bands.append(product)
    margins = [(len(product) - len(band)) // 2 for band in bands]
    padded = [F.pad(band, (margin, margin)) for band, margin in zip(bands, margins, strict=True)]
    return torch.stack(padded[::-1])


def _convolve(first: Tensor, second: Tensor) -> Tensor:
    """Full convolution of two sequences of taps."""
    return F.conv1d(F.pad(first, (len(second) - 1,) * 2)[None, None], second.flip(0)[None, None])[0, 0]


def _spread(taps: Tensor, spacing: int) -> Tensor:
    """Taps at every ``spacing``-th place, with zeros between them."""
    spread = taps.new_zeros(spacing * (len(taps) - 1) + 1)
    spread[::spacing] = taps
    return spread
