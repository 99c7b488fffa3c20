"""Affine warps of images, with reflected borders and without aliasing.

The image is upsampled by 2, sampled bilinearly, and downsampled by 2 (Karras et al. 2020,
https://arxiv.org/abs/2006.06676, appendix B). With the orthonormal low-pass filter h of the wavelet sym6, the two
resamplings are adjoint and the second inverts the first:

    (up x)[m] = sum_i sqrt(2) h[m - 2i + 5] x[i],    (down s)[i] = sum_m h[m - 2i + 5] / sqrt(2) s[m].

h is nearly symmetric about its centroid c = sum_k k h[k] / sum_k h[k] = 5.098, so sample m lies at (m + 5 - c) / 2, in
pixels of the image. A warp is linear in the image, and here it is made of operations that can be differentiated any
number of times; the second derivative of ``grid_sample`` is missing in some versions of PyTorch.
"""

from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lightning_gen import affine
from lightning_gen.networks.filter_matrices import along_both_axes, banded, reflect, reflection
from lightning_gen.types import Images

Positions = Float[Tensor, "batch rows columns"]
"""Coordinates of points along one axis of an image, in pixels; 0 is the centre of the first pixel."""

SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
"""The scaling filter of sym6 (Daubechies 1992, Ten Lectures on Wavelets, table 6.3): orthonormal to its even shifts."""
HALF = 5
"""The tap of :data:`SYM6` that falls on sample 2i from pixel i."""
OFFSET = sum(k * tap for k, tap in enumerate(SYM6)) / sum(SYM6) - HALF
"""Position of pixel 0 among the upsampled samples."""


def warp(images: Images, matrices: affine.Matrices) -> Images:
    """Warp images by affine maps; beyond the border, an image is continued by its reflections.

    Where a map takes the centres of pixels to centres of pixels, as flips, quarter turns and shifts by whole pixels
    do, the pixels are copied without resampling; the identity returns the image bit for bit.

    Args:
        images: images of sides of at least 2.
        matrices: for each image, the map from points of the result to the points of the image that they show, in
            pixels from the centre.

    Returns:
        The warped images, differentiable any number of times in ``images``.
    """
    height, width = images.shape[2:]
    one = matrices.new_ones(len(matrices))
    x, y = one * ((width - 1) / 2), one * ((height - 1) / 2)
    matrices = affine.translation(x, y) @ matrices @ affine.translation(-x, -y)  # from the first pixel's centre

    x, y = _transform(matrices, _upsampled_positions(height, images), _upsampled_positions(width, images))
    x, y = reflect(x, width), reflect(y, height)
    resampled = downsample(bilinear(upsample(images), 2 * x + OFFSET, 2 * y + OFFSET))

    x, y = _transform(matrices, *(torch.arange(side, device=images.device) for side in (height, width)))
    copied = nearest(images, reflect(x, width), reflect(y, height))
    return torch.where(_maps_pixels_to_pixels(matrices)[:, None, None, None], copied, resampled)


def upsample(images: Images) -> Float[Tensor, "batch channels height2 width2"]:
    """Double the sides by :data:`SYM6`; pixel i lies at sample 2i + :data:`OFFSET`."""
    rows, columns = (upsampling(side, images.device, images.dtype) for side in images.shape[2:])
    return along_both_axes(images, rows, columns)


def downsample(samples: Float[Tensor, "batch channels height2 width2"]) -> Float[Tensor, "batch channels height width"]:
    """Take sides of 2n + 10 samples, the first of them sample -5, to n pixels by :data:`SYM6`."""
    rows, columns = (downsampling(side // 2 - HALF, samples.device, samples.dtype) for side in samples.shape[2:])
    return along_both_axes(samples, rows, columns)


@cache
def upsampling(side: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "samples side"]:
    """The matrix from ``side`` pixels to twice as many samples."""
    with torch.inference_mode(False):
        index = torch.arange(2 * side)[:, None] - 2 * torch.arange(-3, side + 3) + HALF
        return (banded(2 * _taps(), index) @ reflection(side, margin=3)).to(device, dtype)


@cache
def downsampling(side: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "side samples"]:
    """The matrix to ``side`` pixels from twice as many samples and 10 more."""
    with torch.inference_mode(False):
        index = torch.arange(2 * side + 2 * HALF) - 2 * torch.arange(side)[:, None]
        return banded(_taps(), index).to(device, dtype)


def _taps() -> Float[Tensor, " 12"]:
    """The taps of :data:`SYM6`, with a sum of 1."""
    taps = torch.tensor(SYM6, dtype=torch.float64)
    return taps / taps.sum()


def bilinear(images: Images, x: Positions, y: Positions) -> Float[Tensor, "batch channels rows columns"]:
    """Interpolate images bilinearly at points within them."""
    height, width = images.shape[2:]
    left, top = x.floor().clamp(0, width - 2), y.floor().clamp(0, height - 2)
    index = (top * width + left).long()
    right_share, lower_share = ((share.to(images.dtype))[:, None] for share in (x - left, y - top))
    upper = torch.lerp(_gather(images, index), _gather(images, index + 1), right_share)
    lower = torch.lerp(_gather(images, index + width), _gather(images, index + width + 1), right_share)
    return torch.lerp(upper, lower, lower_share)


def nearest(images: Images, x: Positions, y: Positions) -> Float[Tensor, "batch channels rows columns"]:
    """The pixels of images that are nearest to points within them."""
    return _gather(images, (y.round() * images.shape[3] + x.round()).long())


def _gather(images: Images, index: Tensor) -> Tensor:
    """The pixels of given numbers (batch, rows, columns), counted row by row."""
    batch, channels = images.shape[:2]
    pixels = images.flatten(2).gather(2, index.flatten(1)[:, None].expand(batch, channels, -1))
    return pixels.reshape(batch, channels, *index.shape[1:])


def _upsampled_positions(side: int, images: Images) -> Float[Tensor, " samples"]:
    """Positions, in pixels, of the samples that :func:`downsample` takes to ``side`` pixels."""
    return (torch.arange(2 * side + 10, device=images.device) - HALF - OFFSET) / 2


def _transform(matrices: affine.Matrices, rows: Tensor, columns: Tensor) -> tuple[Positions, Positions]:
    """Map a grid of points, by sums of products: a matrix product may be computed in TF32."""
    entries = matrices[:, :2, :, None, None]
    x, y = (entries[:, :, 0] * columns + entries[:, :, 1] * rows[:, None] + entries[:, :, 2]).unbind(1)
    return x, y


def _maps_pixels_to_pixels(matrices: affine.Matrices) -> Bool[Tensor, " batch"]:
    """Whether all entries are whole and the map has neither scale nor shear."""
    linear = matrices[:, :2, :2]
    whole = (matrices == matrices.round()).flatten(1).all(1)
    return whole & (linear.abs().sum(1) == 1).all(1) & (linear.abs().sum(2) == 1).all(1)
