"""Bicubic resizing by whole factors, equal to MATLAB's ``imresize``, and symmetric padding.

Both take the kernel of Keys 1981 (https://doi.org/10.1109/TASSP.1981.1163711) with a = -1/2, which is widened by the
factor when an image is made smaller. torch's antialiased bicubic interpolation is the same in the interior; at the
border it leaves out the pixels outside of the image, where MATLAB mirrors the image. Padded symmetrically by a multiple
of the factor before and cropped afterwards, the two agree to rounding.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

FloatImages = Float[Tensor, "batch channels height width"]
Resized = Float[Tensor, "batch channels resized_height resized_width"]
SUPPORT = 3
"""Width of the padding in pixels of the smaller image; the kernel reaches 2 of them, and the centres are shifted."""


def bicubic_downscale(images: FloatImages, scale: int) -> Resized:
    """Make images smaller by a whole factor, which must divide height and width. Values are not clipped."""
    height, width = images.shape[-2:]
    padded = pad_symmetric(images, *[SUPPORT * scale] * 4)
    small = _interpolate(padded, (height // scale + 2 * SUPPORT, width // scale + 2 * SUPPORT))
    return small[..., SUPPORT:-SUPPORT, SUPPORT:-SUPPORT]


def bicubic_upscale(images: FloatImages, scale: int) -> Resized:
    """Make images larger by a whole factor. Values are not clipped."""
    height, width = images.shape[-2:]
    padded = pad_symmetric(images, *[SUPPORT] * 4)
    large = _interpolate(padded, ((height + 2 * SUPPORT) * scale, (width + 2 * SUPPORT) * scale))
    border = SUPPORT * scale
    return large[..., border:-border, border:-border]


def pad_symmetric(images: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Mirror images at their border, with the edge repeated, by any number of pixels."""
    if not (left or right or top or bottom):
        return images
    height, width = images.shape[-2:]
    rows, columns = _mirrored(-top, height + bottom, height), _mirrored(-left, width + right, width)
    return images[..., rows.to(images.device)[:, None], columns.to(images.device)]


def _mirrored(start: int, stop: int, size: int) -> Int64[Tensor, " positions"]:
    """The positions from ``start`` to ``stop`` on an axis that is mirrored at 0 and at ``size``."""
    positions = torch.arange(start, stop).remainder(2 * size)
    return torch.minimum(positions, 2 * size - 1 - positions)


def _interpolate(images: FloatImages, size: tuple[int, int]) -> Resized:
    return F.interpolate(images, size, mode="bicubic", antialias=True)
