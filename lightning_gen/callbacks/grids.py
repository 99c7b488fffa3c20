"""Grids of samples and of reconstructions, drawn while a model trains."""

import math
from typing import ClassVar

import torch
from jaxtyping import UInt8
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.callbacks.pictures import PictureCallback, first_images
from lightning_gen.errors import InputError
from lightning_gen.images import grid, row_pairs, to_uint8
from lightning_gen.noise import image_generators
from lightning_gen.types import ImageGenerator, Reconstructor

PAIRS_IN_A_ROW = 8
FEWEST_OF_A_CLASS = 4


class SampleGrid(PictureCallback):
    """Samples from noise that stays the same all through training; for a ``ImageGenerator``.

    A conditional model (``num_classes`` above 0) is given labels, one class a row. The grid is square, and begins again
    with the first class where it has more rows than there are classes; it is made higher where that shows all classes
    with four images each or more; of still more classes as many are shown as there are rows, evenly spaced.

    Args:
        every_n_epochs: epochs from one picture to the next.
        num: images in the grid, at most.
        seed: names the noise: image i is drawn from (seed, i).
    """

    kind: ClassVar[str] = "samples"

    def __init__(self, every_n_epochs: int = 1, num: int = 64, seed: int = 0) -> None:
        super().__init__(every_n_epochs)
        if num < 1:
            raise InputError(f"num must be 1 or more, not {num}")
        self.num = num
        self.seed = seed

    def draw(self, trainer: Trainer, model: LightningModule) -> UInt8[Tensor, "3 height width"] | None:
        """Draw the samples."""
        if not isinstance(model, ImageGenerator):
            return None
        num, num_classes = self.num, getattr(model, "num_classes", 0)
        columns = math.ceil(math.sqrt(num))
        if math.ceil(num / columns) < num_classes <= num // FEWEST_OF_A_CLASS:
            columns = num // num_classes
            num = columns * num_classes
        rows = torch.arange(num, device=model.device) // columns
        step = max(1, num_classes // math.ceil(num / columns))
        labels = rows * step % num_classes if num_classes else None
        images = model.sample(num, labels=labels, generator=image_generators(self.seed, range(num)))
        return grid(to_uint8(images), columns)


class ReconstructionGrid(PictureCallback):
    """The first validation images, each row above the row of their reconstructions; for a ``Reconstructor``.

    Args:
        every_n_epochs: epochs from one picture to the next.
        num: images, eight in a row.
    """

    kind: ClassVar[str] = "reconstructions"

    def __init__(self, every_n_epochs: int = 1, num: int = 16) -> None:
        super().__init__(every_n_epochs)
        if num < 1:
            raise InputError(f"num must be 1 or more, not {num}")
        self.num = num

    def draw(self, trainer: Trainer, model: LightningModule) -> UInt8[Tensor, "3 height width"] | None:
        """Draw the pairs."""
        if not isinstance(model, Reconstructor) or (batch := first_images(trainer, model, self.num)) is None:
            return None
        columns = min(len(batch.images), PAIRS_IN_A_ROW)
        again = model.reconstruct(batch.images, labels=batch.labels)
        return grid(row_pairs(to_uint8(batch.images), to_uint8(again), columns), columns)
