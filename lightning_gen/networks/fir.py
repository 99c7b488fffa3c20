"""Resampling with separable finite impulse response (FIR) filters, along the rows and the columns of each channel.

StyleGAN2 (Karras et al. 2020, https://arxiv.org/abs/1912.04958) resamples by the filter [1, 3, 3, 1] / 8, StyleGAN by
[1, 2, 1] / 4. The filters are depthwise convolutions, differentiable to any order, on every device.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Features = Float[Tensor, "batch channels height width"]
Resized = Float[Tensor, "batch channels out_height out_width"]
Taps = Float[Tensor, " taps"]
MAX_OUTER_TAPS = 8
"""Length up to which one convolution with the outer product of the taps is faster than one per axis."""


def binomial_filter(taps: int) -> Taps:
    """The binomial coefficients of (1 + x)^(taps - 1), divided by their sum: [1, 3, 3, 1] / 8 for 4 taps."""
    return torch.tensor([float(math.comb(taps - 1, i)) for i in range(taps)]) / 2 ** (taps - 1)


def resample(
    images: Features,
    taps: Taps,
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
    gain: float = 1.0,
) -> Resized:
    """Insert zeros, pad, convolve with the filter without further padding, and keep every ``down``-th sample.

    Each axis is processed as by ``scipy.signal.upfirdn``, whose padding is that of a full convolution.

    Args:
        images: the images.
        taps: the filter of one axis.
        up: factor of upsampling: each sample is followed by ``up - 1`` zeros.
        down: factor of downsampling.
        padding: number of zeros before and after the upsampled signal; negative numbers remove samples.
        gain: factor of the result; ``up ** 2`` preserves the mean when upsampling.

    Returns:
        Images with sides ``(side * up + sum(padding) - len(taps)) // down + 1``.
    """
    kernel = (taps * math.sqrt(gain)).to(images)
    if len(taps) <= MAX_OUTER_TAPS:
        return _convolve(images, torch.outer(kernel, kernel), (up, up), (down, down), padding, padding)
    images = _convolve(images, kernel[:, None], (up, 1), (down, 1), padding, (0, 0))
    return _convolve(images, kernel[None], (1, up), (1, down), (0, 0), padding)


def _convolve(
    images: Tensor,
    kernel: Float[Tensor, "rows columns"],
    up: tuple[int, int],
    down: tuple[int, int],
    row_padding: tuple[int, int],
    column_padding: tuple[int, int],
) -> Tensor:
    """Resample both axes by one depthwise convolution."""
    channels = images.shape[1]
    rows, columns = kernel.shape
    weight = kernel.expand(channels, 1, rows, columns)
    if max(up) == 1:
        padded = F.pad(images, (*column_padding, *row_padding))
        return F.conv2d(padded, weight.flip(2, 3), stride=down, groups=channels)
    # a transposed convolution multiplies no inserted zeros; its result is that of full padding
    full = F.conv_transpose2d(images, weight, stride=up, groups=channels)
    crop = [
        end
        for (before, after), taps, factor in ((column_padding, columns, up[1]), (row_padding, rows, up[0]))
        for end in (before - taps + 1, after - taps + factor)
    ]
    return F.pad(full, crop)[:, :, :: down[0], :: down[1]]


def upsample(images: Features, taps: Taps, factor: int = 2) -> Resized:
    """Upsample by an integer factor; a constant image keeps its value, except next to the border."""
    excess = len(taps) - factor
    padding = ((excess + 1) // 2 + factor - 1, excess // 2)
    return resample(images, taps, up=factor, padding=padding, gain=factor**2)


def downsample(images: Features, taps: Taps, factor: int = 2) -> Resized:
    """Downsample by an integer factor; a constant image keeps its value, except next to the border."""
    excess = len(taps) - factor
    return resample(images, taps, down=factor, padding=((excess + 1) // 2, excess // 2))


def blur(images: Features, taps: Taps) -> Features:
    """Filter without resampling; the result has the size of the input. An even filter shifts by half a sample."""
    return resample(images, taps, padding=(len(taps) // 2, (len(taps) - 1) // 2))
