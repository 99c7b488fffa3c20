r"""Translation and rotation of sampled images with a windowed sinc filter, the references of equivariance.

The filter is Lanczos's, :math:`L(x) = \mathrm{sinc}(x) \, \mathrm{sinc}(x / 3)` for :math:`|x| < 3`. A rotated image
contains only frequencies in both squares that can be sampled: that of the original's pixels and that of the result's.
The rotation therefore filters with both squares, and what it is compared with is filtered alike ("pseudo-rotation",
Karras et al. 2021, https://arxiv.org/abs/2106.12423, appendix E.3).

Positions are in pixels from the centre of the image, x to the right and y down.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lightning_gen.types import Images

RADIUS = 3
"""Half of the support of Lanczos's filter, in pixels."""
OVERSAMPLING = 4
"""Samples per pixel at which the second filter of a rotation is evaluated."""

Image = Float[Tensor, "channels side side"]
Rotation = Float[Tensor, "2 2"]


def lanczos(x: Tensor) -> Tensor:
    """Lanczos's filter at the distances x, in pixels."""
    return torch.sinc(x) * torch.sinc(x / RADIUS) * (x.abs() < RADIUS)


def translate(images: Images, shifts: Float[Tensor, "batch 2"]) -> tuple[Images, Float[Tensor, "batch 1 height width"]]:
    """Translate images by Lanczos's filter; by whole pixels, this only moves the pixels.

    Args:
        images: the images.
        shifts: how far each moves in x and y, in pixels.

    Returns:
        The translated images, and masks which are 1 where no pixel from outside of the image is involved, 0 elsewhere.
    """
    weights, valid = [], []
    for axis, side in ((1, images.shape[2]), (0, images.shape[3])):
        target = torch.arange(side, dtype=torch.float64)[:, None] - shifts[:, axis].double().cpu()[:, None, None]
        reach = RADIUS + math.ceil(shifts.abs().max())
        taps = lanczos(target - torch.arange(-reach, side + reach))  # (batch, side, reach + side + reach)
        taps = torch.where(taps.abs() < 1e-9, 0, taps)  # sinc at whole numbers
        taps = taps / taps.sum(2, keepdim=True)
        inside = taps[:, :, reach : reach + side]
        valid.append((inside.count_nonzero(2) == taps.count_nonzero(2)).to(images))
        weights.append(inside.to(images))
    rows, columns = weights
    return rows[:, None] @ images @ columns[:, None].mT, (valid[0][:, :, None] * valid[1][:, None])[:, None]


def rotate(image: Image, rotation: Rotation) -> Image:
    """Rotate an image: what was at the position R p comes to p.

    Args:
        image: a square image.
        rotation: the matrix R.

    Returns:
        The rotated image; pixels outside of the original are 0.
    """
    side = image.shape[-1]
    centre = (side - 1) / 2
    fine = fine_positions(centre + RADIUS).to(image)
    rows, columns = torch.meshgrid(fine, fine, indexing="ij")
    positions = torch.stack([columns, rows], -1) @ rotation.T.to(image) + centre  # of the fine grid in the original
    first = positions.floor() - (RADIUS - 1)
    padding = RADIUS + 1
    padded = F.pad(image, (padding,) * 4)
    taps = lanczos((positions - first)[..., None] - torch.arange(2 * RADIUS).to(image))
    taps = taps / taps.sum(-1, keepdim=True)
    values = image.new_zeros(len(image), *rows.shape)
    for i in range(2 * RADIUS):
        for j in range(2 * RADIUS):
            x, y = (
                (first[..., axis] + k + padding).clamp(0, side + 2 * padding - 1).long() for axis, k in ((0, j), (1, i))
            )
            values += padded[:, y, x] * taps[..., 0, j] * taps[..., 1, i]
    reduce = lanczos(torch.arange(side).to(image)[:, None] - centre - fine)
    reduce = reduce / reduce.sum(1, keepdim=True)
    return reduce @ values @ reduce.T


def pseudo_rotate(image: Image, rotation: Rotation) -> Image:
    """Filter an image as :func:`rotate` filters its result, without moving it.

    Args:
        image: a square image.
        rotation: the matrix R.

    Returns:
        The filtered image; pixels outside of the image count as 0.
    """
    reach = math.sqrt(2) * RADIUS
    fine = fine_positions(reach).double()
    rows, columns = torch.meshgrid(fine, fine, indexing="ij")
    turned = torch.stack([columns, rows], -1) @ rotation.T.double().cpu()
    radius = math.ceil(reach + RADIUS)
    reduce = lanczos(torch.arange(-radius, radius + 1)[:, None] - fine)
    kernel = reduce @ lanczos(turned).prod(-1) @ reduce.T
    kernel = (kernel / kernel.sum()).to(image)
    return F.conv2d(image[:, None], kernel[None, None], padding=radius)[:, 0]


def rotation_mask(side: int, rotation: Rotation, margin: int) -> Float[Tensor, "side side"]:
    """1 where a pixel is ``margin`` or more away from all borders, before and after a rotation; 0 elsewhere."""
    line = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    positions = torch.stack([columns, rows], -1)
    both = torch.cat([positions, positions @ rotation.T.double().cpu()], -1)
    return (both.abs() <= side / 2 - margin).all(-1).double()


def fine_positions(reach: float) -> Float[Tensor, " positions"]:
    """Positions between the samples of the grid with ``OVERSAMPLING`` samples per pixel, up to ``reach`` or beyond."""
    num = math.ceil(reach * OVERSAMPLING)
    return (torch.arange(-num, num) + 0.5) / OVERSAMPLING
