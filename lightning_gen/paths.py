r"""Interpolation between latents, along straight lines or along arcs.

Gaussian latents lie near a sphere; spherical interpolation (Shoemake 1985, https://doi.org/10.1145/325334.325242)
follows it:

    slerp(a, b; t) = sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b,    cos(w) = <a, b> / (|a| |b|)
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.types import Latents

PathKind = Literal["linear", "spherical"]
LatentPath = Float[Tensor, "rows points *latent"]
Times = Float[Tensor, "_ points"]
"""Positions in [0, 1] on the path of each row, or one row for all."""
MIN_SINE = 1e-3
"""Latents whose angle has a smaller sine count as parallel: the arc between them is degenerate or not unique."""


def slerp(start: Latents, end: Latents, steps: int) -> LatentPath:
    """Interpolate along arcs, exact at both ends; latents of equal norm keep that norm.

    Parallel latents are interpolated along a straight line.

    Args:
        start: latents ``(rows, *latent)``.
        end: latents of the same shape.
        steps: number of points per arc, including both ends.

    Returns:
        Latents ``(rows, steps, *latent)``.
    """
    return path_points("spherical", start, end, even_times(start, steps))


def lerp(start: Latents, end: Latents, steps: int) -> LatentPath:
    """Interpolate along straight lines, exact at both ends; arguments as in :func:`slerp`."""
    return path_points("linear", start, end, even_times(start, steps))


def latent_path(kind: PathKind, start: Latents, end: Latents, steps: int, num_classes: int = 0) -> LatentPath:
    """Evenly spaced points of paths, including both ends; other arguments as in :func:`path_points`."""
    return path_points(kind, start, end, even_times(start, steps), num_classes)


def path_points(kind: PathKind, start: Latents, end: Latents, times: Times, num_classes: int = 0) -> LatentPath:
    """Interpolate along lines or arcs, exact at both ends.

    Classes are always interpolated linearly, so that they sum to 1 on the whole path, and a class that both ends share
    does not change.

    Args:
        kind: ``linear`` or ``spherical``.
        start: latents ``(rows, *latent)``.
        end: latents of the same shape.
        times: positions t in [0, 1], those of each row or one row for all.
        num_classes: the number of last entries of a latent that are a one-hot class.

    Returns:
        Latents ``(rows, points, *latent)``, in the dtype of ``start``.
    """
    if kind == "linear":
        points = torch.lerp(
            start.flatten(1).unsqueeze(1), end.flatten(1).unsqueeze(1), times.to(start.dtype)[..., None]
        )
        return points.unflatten(2, start.shape[1:])
    if num_classes:
        arcs = path_points(kind, start[..., :-num_classes], end[..., :-num_classes], times)
        lines = path_points("linear", start[..., -num_classes:], end[..., -num_classes:], times)
        return torch.cat([arcs, lines], -1)
    dtype = torch.promote_types(start.dtype, torch.float32)
    a, b, t = start.flatten(1).to(dtype), end.flatten(1).to(dtype), times.to(dtype)[..., None]  # (N, D), (N, T, 1)
    omega = torch.cosine_similarity(a, b).clamp(-1, 1).acos()[:, None, None]  # (N, 1, 1)
    a, b, sine = a.unsqueeze(1), b.unsqueeze(1), omega.sin()  # (N, 1, D)
    arc = ((1 - t) * omega).sin() / sine * a + (t * omega).sin() / sine * b  # (N, T, D)
    points = torch.where(sine > MIN_SINE, arc, torch.lerp(a, b, t))
    return points.to(start.dtype).unflatten(2, start.shape[1:])


def even_times(latents: Latents, steps: int) -> Times:
    """Evenly spaced positions (1, steps) from 0 to 1, on the device of latents."""
    dtype = torch.promote_types(latents.dtype, torch.float32)
    return torch.linspace(0, 1, steps, device=latents.device, dtype=dtype).unsqueeze(0)
