"""A table of samples beside the training images that they are nearest to: whether the model has memorised images."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning import Callback

from lightning_gen.checks import check_at_least
from lightning_gen.evaluation.nearest import MAX_PIXEL, draw_samples, nearest_images, pixels_on, search_device
from lightning_gen.images import enlarge, grid
from lightning_gen.inference import isolated_inference
from lightning_gen.logger_types import TableLogger
from lightning_gen.types import ImageGenerator, ImageSource, StoredImages, Translator

SIDE = 64
"""Smaller images are enlarged to about this height."""
BATCH_SIZE = 1000
"""Training images that are compared at once."""


class NearestTable(Callback):
    """Logs a table of samples with their nearest training images by pixels, at the end of training.

    The table has one row per sample: the sample, the images, and their squared Euclidean distances, of pixels in
    [0, 1]. A blurred image is near to every image: see the command ``inspect neighbours`` for distances of features and
    those of test images. Only loggers that take tables get it, and without one nothing is computed.

    Args:
        num: number of samples; 0 for no table.
        k: number of training images beside each.
        max_images: number of training images that are searched.

    Raises:
        InputError: for a number out of range.
    """

    def __init__(self, num: int = 16, k: int = 3, max_images: int = 50_000) -> None:
        check_at_least(0, prefix="nearest.", num=num)
        check_at_least(1, prefix="nearest.", k=k, max_images=max_images)
        self.num = num
        self.k = k
        self.max_images = max_images

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the table."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, TableLogger)]
        source = getattr(trainer, "datamodule", None)
        generates = isinstance(pl_module, ImageGenerator) and not isinstance(pl_module, Translator)
        fast_dev_run = getattr(trainer, "fast_dev_run", False)
        if not (loggers and self.num and generates and trainer.is_global_zero) or fast_dev_run:
            return
        if not isinstance(source, ImageSource):
            return
        with isolated_inference(pl_module, seed=0), trainer.precision_plugin.forward_context():
            samples = draw_samples(pl_module, self.num, seed=0, batch_size=self.num)
        columns, rows = self.table(samples, source, pl_module.device)
        for logger in loggers:
            logger.log_table("nearest", columns, rows, step=int(pl_module.images_seen))

    def table(
        self, samples: StoredImages, source: ImageSource, device: torch.device
    ) -> tuple[list[str], list[list[Any]]]:
        """The columns and the rows of the table.

        Args:
            samples: the samples.
            source: the data, whose train split is searched.
            device: device of the distances.

        Returns:
            The columns' names, and one row per sample.
        """
        train = source.image_set("train")
        k = min(self.k, len(train), self.max_images)
        pixels = {"pixels": pixels_on(search_device(device))}
        found = nearest_images(samples, train, pixels, k, BATCH_SIZE, self.max_images)["pixels"]
        distances = (found.distances / MAX_PIXEL**2).tolist()
        rows = []
        for sample, indices, near in zip(samples, found.indices.cpu().numpy(), distances, strict=True):
            images = [picture(train[np.asarray([index])]) for index in indices]
            rows.append([picture(sample[None]), *images, *near])
        numbers = range(1, k + 1)
        return ["sample", *(f"nearest {i}" for i in numbers), *(f"distance {i}" for i in numbers)], rows


def picture(image: StoredImages) -> npt.NDArray[np.uint8]:
    """One image as an RGB array ``(height, width, 3)``, enlarged by a whole factor if it is small."""
    factor = max(1, SIDE // image.shape[-2])
    return grid(enlarge(image, factor), 1).permute(1, 2, 0).numpy()
