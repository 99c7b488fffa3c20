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
LatentPath = Float[Tensor, "rows steps *latent"]
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
    t = torch.linspace(0, 1, steps, device=start.device).unsqueeze(1)  # (T, 1)
    a, b = start.flatten(1).float(), end.flatten(1).float()  # (N, D)
    omega = torch.cosine_similarity(a, b).clamp(-1, 1).acos()[:, None, None]  # (N, 1, 1)
    a, b, sine = a.unsqueeze(1), b.unsqueeze(1), omega.sin()  # (N, 1, D)
    arc = ((1 - t) * omega).sin() / sine * a + (t * omega).sin() / sine * b  # (N, T, D)
    points = torch.where(sine > MIN_SINE, arc, torch.lerp(a, b, t))
    return points.to(start.dtype).unflatten(2, start.shape[1:])


def lerp(start: Latents, end: Latents, steps: int) -> LatentPath:
    """Interpolate along straight lines, exact at both ends; arguments as in :func:`slerp`."""
    t = torch.linspace(0, 1, steps, device=start.device, dtype=start.dtype).unsqueeze(1)
    return torch.lerp(start.flatten(1).unsqueeze(1), end.flatten(1).unsqueeze(1), t).unflatten(2, start.shape[1:])


def latent_path(kind: PathKind, start: Latents, end: Latents, steps: int, num_classes: int = 0) -> LatentPath:
    """Interpolate along lines or arcs, exact at both ends.

    Classes are always interpolated linearly, so that they sum to 1 on the whole path, and a class that both ends share
    does not change.

    Args:
        kind: ``linear`` or ``spherical``.
        start: latents ``(rows, *latent)``.
        end: latents of the same shape.
        steps: number of points per path, including both ends.
        num_classes: the number of last entries of a latent that are a one-hot class.

    Returns:
        Latents ``(rows, steps, *latent)``.
    """
    lines = lerp(start, end, steps)
    if kind == "linear":
        return lines
    if not num_classes:
        return slerp(start, end, steps)
    arcs = slerp(start[..., :-num_classes], end[..., :-num_classes], steps)
    return torch.cat([arcs, lines[..., -num_classes:]], -1)
