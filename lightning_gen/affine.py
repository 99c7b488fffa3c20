"""Batches of homogeneous matrices of affine maps of the plane.

A point is a column (x, y, 1), with x to the right and y downwards as in images. A matrix M maps it to M (x, y, 1), so
the product A @ B applies B first. The units of x and y are the caller's.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Matrices = Float[Tensor, "batch 3 3"]
Scalars = Float[Tensor, " batch"]
"""One number per image."""


def identity(batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Matrices:
    """``batch`` identity matrices."""
    return torch.eye(3, device=device, dtype=dtype).expand(batch, 3, 3)


def translation(x: Scalars, y: Scalars) -> Matrices:
    """Translate points: [[1, 0, x], [0, 1, y], [0, 0, 1]]."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrices((one, zero, x), (zero, one, y), (zero, zero, one))


def rotation(angle: Scalars) -> Matrices:
    """Rotate points by ``angle`` radians from the x-axis towards the y-axis, which is clockwise on a screen.

    [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]].
    """
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    cos, sin = angle.cos(), angle.sin()
    return _matrices((cos, -sin, zero), (sin, cos, zero), (zero, zero, one))


def scaling(x: Scalars, y: Scalars) -> Matrices:
    """Scale the coordinates of points: diag(x, y, 1). A factor of -1 is a reflection."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrices((x, zero, zero), (zero, y, zero), (zero, zero, one))


def _matrices(*rows: tuple[Tensor, Tensor, Tensor]) -> Matrices:
    """Stack rows of numbers per image into one matrix per image."""
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
