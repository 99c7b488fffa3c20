"""Unsharp masking, the target of Real-ESRGAN's content losses (Wang et al. 2021, https://arxiv.org/abs/2107.10833)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lightning_gen.types import Images

RADIUS, SIGMA = 25, 8.0
"""Radius and standard deviation of the Gaussian blur in pixels."""
AMOUNT, THRESHOLD = 0.5, 10.0
"""Factor of the difference that is added, and the difference in levels of 8 bits below which nothing is added."""


def unsharp_mask(images: Images) -> Images:
    """Sharpen images: x + m (clip(x + 0.5 r) - x), where r = x - blur(x) and m = blur(1 where |r| is above 10 levels).

    Args:
        images: images in [-1, 1] of any size.

    Returns:
        Images in [-1, 1].
    """
    with torch.autocast(images.device.type, enabled=False):
        residual = images - blur(images)
        mask = blur((residual.abs() * 127.5 > THRESHOLD).to(images.dtype))
        return torch.lerp(images, (images + AMOUNT * residual).clamp(-1, 1), mask)


def blur(images: Images) -> Images:
    """Blur by a truncated Gaussian; pixels outside of the image equal its nearest pixel."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, device=images.device)
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    kernel = (weights / weights.sum()).to(images.dtype)
    return _blur_rows(_blur_rows(images, kernel).mT, kernel).mT


def _blur_rows(images: Images, kernel: Float[Tensor, " size"]) -> Images:
    rows = F.pad(images, (RADIUS, RADIUS, 0, 0), mode="replicate").flatten(0, 2)
    return F.conv1d(rows[:, None], kernel[None, None])[:, 0].unflatten(0, images.shape[:3])
