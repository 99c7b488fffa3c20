r"""Ways from one latent to another.

Gaussian latents lie near a sphere, so the way from one to another follows it (Shoemake 1985,
https://doi.org/10.1145/325334.325242):

    slerp(a, b; t) = sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b,    cos(w) = <a, b> / (|a| |b|)
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.types import Latents

PathKind = Literal["linear", "spherical"]
LatentPath = Float[Tensor, "rows steps *latent"]


def slerp(start: Latents, end: Latents, steps: int) -> LatentPath:
    """Interpolate along the arc between latents; the ends are exact, and latents of one norm keep that norm.

    Latents that are parallel, where the arc is no arc or not the only one, are joined by a straight line.

    Args:
        start: latents ``(rows, *latent)``.
        end: as many of the same shape.
        steps: points on each arc, both ends included.

    Returns:
        Latents ``(rows, steps, *latent)``.
    """
    t = torch.linspace(0, 1, steps, device=start.device).unsqueeze(1)  # (T, 1)
    a, b = start.flatten(1).float(), end.flatten(1).float()  # (N, D)
    omega = torch.cosine_similarity(a, b).clamp(-1, 1).acos()[:, None, None]  # (N, 1, 1)
    a, b, sine = a.unsqueeze(1), b.unsqueeze(1), omega.sin()  # (N, 1, D)
    arc = ((1 - t) * omega).sin() / sine * a + (t * omega).sin() / sine * b  # (N, T, D)
    points = torch.where(sine > 1e-3, arc, torch.lerp(a, b, t))
    return points.to(start.dtype).unflatten(2, start.shape[1:])


def line(start: Latents, end: Latents, steps: int) -> LatentPath:
    """Interpolate along the straight line between latents; the ends are exact.

    Args:
        start: latents ``(rows, *latent)``.
        end: as many of the same shape.
        steps: points on each line, both ends included.

    Returns:
        Latents ``(rows, steps, *latent)``.
    """
    t = torch.linspace(0, 1, steps, device=start.device, dtype=start.dtype).unsqueeze(1)
    return torch.lerp(start.flatten(1).unsqueeze(1), end.flatten(1).unsqueeze(1), t).unflatten(2, start.shape[1:])


def path(kind: PathKind, start: Latents, end: Latents, steps: int, num_classes: int = 0) -> LatentPath:
    """Interpolate between latents along lines or arcs; the ends are exact.

    Classes go along lines, so that they sum to 1 all the way: between two latents of a class, it stays as it is.

    Args:
        kind: ``linear`` or ``spherical``.
        start: latents ``(rows, *latent)``.
        end: as many of the same shape.
        steps: points on each way, both ends included.
        num_classes: how many of a latent's last entries are a class as a one-hot vector.

    Returns:
        Latents ``(rows, steps, *latent)``.
    """
    ways = line(start, end, steps)
    if kind == "linear":
        return ways
    if not num_classes:
        return slerp(start, end, steps)
    arcs = slerp(start[..., :-num_classes], end[..., :-num_classes], steps)
    return torch.cat([arcs, ways[..., -num_classes:]], -1)
