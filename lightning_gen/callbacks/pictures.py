"""The base of all picture callbacks: when a picture is made, how a run is isolated from it, and where it is saved.

A subclass defines ``kind`` and ``draw``. The picture is a grid at least 512 pixels wide, under a line that names the
model, the number of images seen and the weights. It is saved as ``<run>/samples/<kind>_<images seen>.png`` and sent to
every logger that takes pictures. Only rank 0 makes it; the other ranks wait at their next collective operation. The
networks run in eval mode and without gradients, and modes and random states are restored afterwards, so that training
is the same with and without pictures.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightning_gen.checks import check_at_least
from lightning_gen.drawing import with_caption
from lightning_gen.evaluation.facts import describe_model
from lightning_gen.images import PICTURE_WIDTH, grid, save_png, to_float
from lightning_gen.inference import isolated_inference
from lightning_gen.logger_types import MediaLogger
from lightning_gen.types import Batch, ImageSource, StoredImages


def first_validation_images(trainer: Trainer, model: LightningModule, num: int) -> Batch | None:
    """The first validation images and their classes, on the model's device and in the trainer's precision.

    Args:
        trainer: a trainer whose data module may be an :class:`ImageSource`.
        model: the model.
        num: maximum number of images.

    Returns:
        Images in [-1, 1] and their classes, or None if the data module is no :class:`ImageSource`.
    """
    source = getattr(trainer, "datamodule", None)
    if not isinstance(source, ImageSource):
        return None
    validation_set = source.image_set("val")
    stored_labels = validation_set.labels
    labels = None if stored_labels is None else torch.from_numpy(stored_labels[:num]).to(model.device)
    return trainer.precision_plugin.convert_input(Batch(to_float(validation_set[:num].to(model.device)), labels))


class Cells(NamedTuple):
    """The images of a grid, row by row, and the number of images per row."""

    images: StoredImages
    columns: int


class PictureCallback(Callback, ABC):
    """Makes a picture every few epochs and at the end of training.

    Args:
        every_n_epochs: epochs between two pictures.

    Attributes:
        kind: name of the picture in its file, its caption and the loggers.
        last_path: file of the newest picture; None before the first.

    Raises:
        InputError: for a number out of range.
    """

    kind: ClassVar[str]

    def __init__(self, every_n_epochs: int = 1) -> None:
        check_at_least(1, prefix=f"{self.kind}.", every_n_epochs=every_n_epochs)
        self.every_n_epochs = every_n_epochs
        self.last_path: Path | None = None
        self._last_images_seen = -1

    @abstractmethod
    def draw(self, trainer: Trainer, model: LightningModule) -> Cells | None:
        """Make the images of the picture. The networks are in eval mode and the random states are isolated.

        Args:
            trainer: a trainer in ``fit``.
            model: the model in training.

        Returns:
            The images, or None if the model lacks the capability.
        """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make a picture after every ``every_n_epochs``-th epoch."""
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._publish(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the last picture, unless the last epoch has made it."""
        self._publish(trainer, pl_module)

    def _publish(self, trainer: Any, model: Any) -> None:
        images_seen = int(model.images_seen)
        if trainer.fast_dev_run or not trainer.is_global_zero or images_seen == self._last_images_seen:
            return
        with isolated_inference(model, seed=0), trainer.precision_plugin.forward_context():
            cells = self.draw(trainer, model)
        if cells is None:
            return
        caption = describe_model(model, self.kind)
        picture = with_caption(grid(cells.images, cells.columns, PICTURE_WIDTH), caption)
        path = Path(trainer.default_root_dir) / "samples" / f"{self.kind}_{images_seen:09d}.png"
        save_png(picture, path)
        self.last_path, self._last_images_seen = path, images_seen
        for logger in trainer.loggers:
            if isinstance(logger, MediaLogger):
                pixels = picture.permute(1, 2, 0).numpy()
                logger.log_image(self.kind, [pixels], step=images_seen, caption=[caption])
