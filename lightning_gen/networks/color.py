"""Affine maps of the colours of a pixel, as homogeneous matrices.

A pixel is a column (c_1, ..., c_n, 1) with its values in [-1, 1]; a matrix M maps it to M c, so the product A @ B
applies B first. The luma axis is v = (1, ..., 1) / sqrt(n), as in Karras et al. 2020
(https://arxiv.org/abs/2006.06676, appendix B) for n = 3. For n = 1 these are the maps that act on a grey image as on
the three equal channels of an RGB image: a change of saturation is then the identity.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.types import Images

ColorMatrices = Float[Tensor, "batch channels1 channels1"]
"""Matrices of side n + 1 for images with n channels."""
Scalars = Float[Tensor, " batch"]


def brightness(shift: Scalars, channels: int) -> ColorMatrices:
    """Add ``shift`` to all channels."""
    matrices = torch.eye(channels + 1, device=shift.device).repeat(len(shift), 1, 1)
    matrices[:, :channels, channels] = shift[:, None]
    return matrices


def contrast(factor: Scalars, channels: int) -> ColorMatrices:
    """Multiply all channels by ``factor``."""
    return _homogeneous(factor[:, None, None] * torch.eye(channels, device=factor.device))


def luma_flip(flip: Scalars, channels: int) -> ColorMatrices:
    """Where ``flip`` is 1 and not 0, reflect the luma: I - 2 v v^T. Hue and saturation do not change."""
    eye = torch.eye(channels, device=flip.device)
    return _homogeneous(eye - 2 * flip[:, None, None] * _luma(eye))


def hue(angle: Scalars) -> Float[Tensor, "batch 4 4"]:
    """Rotate RGB colours by ``angle`` radians about the luma axis (Rodrigues' formula).

    cos(angle) I + sin(angle) [v]_x + (1 - cos(angle)) v v^T.
    """
    eye = torch.eye(3, device=angle.device)
    cross = (eye.roll(1, 0) - eye.roll(-1, 0)) / math.sqrt(3)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return _homogeneous(cos * eye + sin * cross + (1 - cos) * _luma(eye))


def saturation(factor: Scalars, channels: int) -> ColorMatrices:
    """Multiply what is orthogonal to the luma axis by ``factor``: v v^T + factor (I - v v^T)."""
    eye = torch.eye(channels, device=factor.device)
    return _homogeneous(eye + (factor - 1)[:, None, None] * (eye - _luma(eye)))


def apply_color(images: Images, matrices: ColorMatrices) -> Images:
    """Map the colours of images by one matrix per image; the identity returns the image bit for bit."""
    channels = images.shape[1]
    matrices = matrices.to(images.dtype)
    mapped = torch.einsum("bij,bjhw->bihw", matrices[:, :channels, :channels], images)
    mapped = mapped + matrices[:, :channels, channels, None, None]
    changed = (matrices != torch.eye(channels + 1, device=images.device)).flatten(1).any(1)
    return torch.where(changed[:, None, None, None], mapped, images)


def _luma(eye: Float[Tensor, "channels channels"]) -> Float[Tensor, "channels channels"]:
    """The projection v v^T on the luma axis."""
    return torch.ones_like(eye) / len(eye)


def _homogeneous(linear: Float[Tensor, "batch channels channels"]) -> ColorMatrices:
    """The homogeneous matrices of linear maps."""
    batch, channels, _ = linear.shape
    matrices = torch.eye(channels + 1, device=linear.device).repeat(batch, 1, 1)
    matrices[:, :channels, :channels] = linear
    return matrices
