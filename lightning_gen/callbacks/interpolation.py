r"""Strips of images on the way from one latent to another, drawn while a model trains.

Gaussian latents lie near a sphere, so the way from one to another follows it (Shoemake, 1985):

    slerp(a, b; t) = sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b,    cos(w) = <a, b> / (|a| |b|)
"""

from typing import ClassVar

import torch
from jaxtyping import Float, UInt8
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.callbacks.pictures import PictureCallback, first_images
from lightning_gen.errors import InputError
from lightning_gen.images import grid, to_uint8
from lightning_gen.noise import image_generators
from lightning_gen.types import Decoder, Encoder, Latents, LatentSampler

Path = Float[Tensor, "rows steps *latent"]


def slerp(start: Latents, end: Latents, steps: int) -> Path:
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


def line(start: Latents, end: Latents, steps: int) -> Path:
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


class InterpolationStrip(PictureCallback):
    """Rows of images from one fixed latent to another.

    A ``LatentSampler`` goes along arcs between latents of its prior; an ``Encoder`` that is a ``Decoder``, along
    straight lines between the latents of the first validation images.

    Args:
        every_n_epochs: epochs from one picture to the next.
        rows: pairs of ends.
        steps: images in a row, both ends included.
        seed: names the prior's latents.
    """

    kind: ClassVar[str] = "interpolation"

    def __init__(self, every_n_epochs: int = 1, rows: int = 4, steps: int = 8, seed: int = 0) -> None:
        super().__init__(every_n_epochs)
        if rows < 1 or steps < 2:
            raise InputError(f"rows must be 1 or more and steps 2 or more, not {rows} and {steps}")
        self.rows = rows
        self.steps = steps
        self.seed = seed

    def draw(self, trainer: Trainer, model: LightningModule) -> UInt8[Tensor, "3 height width"] | None:
        """Draw the strip."""
        if not isinstance(model, Decoder) or (path := self._path(trainer, model)) is None:
            return None
        return grid(to_uint8(model.decode(path.flatten(0, 1))), self.steps)

    def _path(self, trainer: Trainer, model: LightningModule) -> Path | None:
        if isinstance(model, LatentSampler):
            ends = model.sample_latents(2 * self.rows, generator=image_generators(self.seed, range(2 * self.rows)))
            return slerp(ends[0::2], ends[1::2], self.steps)
        if isinstance(model, Encoder) and (images := first_images(trainer, model, 2 * self.rows)) is not None:
            ends = model.encode(images[: len(images) // 2 * 2])
            return line(ends[0::2], ends[1::2], self.steps)
        return None
