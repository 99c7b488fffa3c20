"""Strips of images on the way from one latent to another, drawn while a model trains."""

from typing import ClassVar

from jaxtyping import UInt8
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.callbacks.pictures import PictureCallback, first_images
from lightning_gen.errors import InputError
from lightning_gen.images import grid, to_uint8
from lightning_gen.noise import image_generators
from lightning_gen.paths import LatentPath, latent_path
from lightning_gen.types import Decoder, Encoder, LatentSampler


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
        if not isinstance(model, Decoder) or (way := self._way(trainer, model)) is None:
            return None
        return grid(to_uint8(model.decode(way.flatten(0, 1))), self.steps)

    def _way(self, trainer: Trainer, model: LightningModule) -> LatentPath | None:
        num_classes = getattr(model, "num_classes", 0)
        if isinstance(model, LatentSampler):
            ends = model.sample_latents(2 * self.rows, generator=image_generators(self.seed, range(2 * self.rows)))
            return latent_path("spherical", ends[0::2], ends[1::2], self.steps, num_classes)
        if isinstance(model, Encoder) and (batch := first_images(trainer, model, 2 * self.rows)) is not None:
            ends = model.encode(batch.images, labels=batch.labels)
            ends = ends[: len(ends) // 2 * 2]
            return latent_path("linear", ends[0::2], ends[1::2], self.steps, num_classes)
        return None
