"""Grids of samples and of reconstructions during training."""

import math
from typing import ClassVar

import torch
from pytorch_lightning import LightningModule, Trainer

from lightning_gen.callbacks.animation import animate
from lightning_gen.callbacks.pictures import Cells, PictureCallback, first_validation_images
from lightning_gen.checks import check_at_least
from lightning_gen.images import row_pairs, to_uint8
from lightning_gen.noise import image_generators
from lightning_gen.types import ImageGenerator, Reconstructor

ANIMATION = "progress.gif"
PAIRS_PER_ROW = 8
MIN_IMAGES_PER_CLASS = 4


class SampleGrid(PictureCallback):
    """Samples from fixed noise; for a ``ImageGenerator``. The end of training adds ``progress.gif``, all grids so far.

    For a conditional model (``num_classes`` above 0), each row shows one class. The grid is square. With fewer classes
    than rows, the classes repeat. With more classes than rows, the grid gets one row per class if ``num`` allows four
    images for each, or else shows evenly spaced classes.

    Args:
        every_n_epochs: epochs between two pictures.
        num: maximum number of images.
        seed: seed of the noise; image i depends on (seed, i) alone.
    """

    kind: ClassVar[str] = "samples"

    def __init__(self, every_n_epochs: int = 1, num: int = 64, seed: int = 0) -> None:
        super().__init__(every_n_epochs)
        check_at_least(1, prefix=f"{self.kind}.", num=num)
        self.num = num
        self.seed = seed

    def draw(self, trainer: Trainer, model: LightningModule) -> Cells | None:
        """Sample and arrange the grid."""
        if not isinstance(model, ImageGenerator):
            return None
        num, num_classes = self.num, getattr(model, "num_classes", 0)
        columns = math.ceil(math.sqrt(num))
        if math.ceil(num / columns) < num_classes <= num // MIN_IMAGES_PER_CLASS:
            columns = num // num_classes
            num = columns * num_classes
        rows = torch.arange(num, device=model.device) // columns
        step = max(1, num_classes // math.ceil(num / columns))
        labels = rows * step % num_classes if num_classes else None
        images = model.sample(num, labels=labels, generator=image_generators(self.seed, range(num)))
        return Cells(to_uint8(images), columns)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the last picture, and the animation of this run's pictures, also of those before it was resumed."""
        super().on_train_end(trainer, pl_module)
        if self.last_path is None:
            return
        pictures = sorted(self.last_path.parent.glob(f"{self.kind}_[0-9]*.png"))
        animate([path for path in pictures if path.name <= self.last_path.name], self.last_path.with_name(ANIMATION))


class ReconstructionGrid(PictureCallback):
    """The first validation images, each row above its reconstructions; for a ``Reconstructor``.

    Args:
        every_n_epochs: epochs between two pictures.
        num: number of images, eight per row.
    """

    kind: ClassVar[str] = "reconstructions"

    def __init__(self, every_n_epochs: int = 1, num: int = 16) -> None:
        super().__init__(every_n_epochs)
        check_at_least(1, prefix=f"{self.kind}.", num=num)
        self.num = num

    def draw(self, trainer: Trainer, model: LightningModule) -> Cells | None:
        """Reconstruct and arrange the pairs."""
        if not isinstance(model, Reconstructor) or (batch := first_validation_images(trainer, model, self.num)) is None:
            return None
        columns = min(len(batch.images), PAIRS_PER_ROW)
        reconstructions = model.reconstruct(batch.images, labels=batch.labels)
        return Cells(row_pairs(to_uint8(batch.images), to_uint8(reconstructions), columns), columns)
