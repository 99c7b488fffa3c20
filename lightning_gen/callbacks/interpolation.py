"""Interpolations between latents during training."""

from typing import ClassVar

from pytorch_lightning import LightningModule, Trainer

from lightning_gen.callbacks.pictures import Cells, PictureCallback, first_validation_images
from lightning_gen.checks import check_at_least
from lightning_gen.images import to_uint8
from lightning_gen.noise import image_generators
from lightning_gen.paths import LatentPath, latent_path
from lightning_gen.types import Decoder, Encoder, LatentGenerator


class InterpolationStrip(PictureCallback):
    """Rows of images decoded from a path between two fixed latents.

    A ``LatentGenerator`` interpolates spherically between latents of its prior; an ``Encoder`` that is also a
    ``Decoder``, linearly between the latents of the first validation images.

    Args:
        every_n_epochs: epochs between two pictures.
        rows: number of pairs of latents.
        steps: images per row, both ends included.
        seed: seed of the prior's latents.
    """

    kind: ClassVar[str] = "interpolation"

    def __init__(self, every_n_epochs: int = 1, rows: int = 4, steps: int = 8, seed: int = 0) -> None:
        super().__init__(every_n_epochs)
        check_at_least(1, prefix=f"{self.kind}.", rows=rows)
        check_at_least(2, prefix=f"{self.kind}.", steps=steps)
        self.rows = rows
        self.steps = steps
        self.seed = seed

    def draw(self, trainer: Trainer, model: LightningModule) -> Cells | None:
        """Decode and arrange the rows."""
        if not isinstance(model, Decoder) or (latents := self._latent_path(trainer, model)) is None:
            return None
        return Cells(to_uint8(model.decode(latents.flatten(0, 1))), self.steps)

    def _latent_path(self, trainer: Trainer, model: LightningModule) -> LatentPath | None:
        num_classes = getattr(model, "num_classes", 0)
        if isinstance(model, LatentGenerator):
            ends = model.sample_latents(2 * self.rows, generator=image_generators(self.seed, range(2 * self.rows)))
            return latent_path("spherical", ends[0::2], ends[1::2], self.steps, num_classes)
        if isinstance(model, Encoder) and (batch := first_validation_images(trainer, model, 2 * self.rows)) is not None:
            ends = model.encode(batch.images, labels=batch.labels)
            ends = ends[: len(ends) // 2 * 2]
            return latent_path("linear", ends[0::2], ends[1::2], self.steps, num_classes)
        return None
