"""What every callback that draws a picture shares: when it draws, what it must leave alone, where the picture goes.

A subclass supplies ``kind`` and ``draw``. The picture is ``<run>/samples/<kind>_<images seen>.png`` and goes to every
logger that takes pictures. One process draws, the others wait at their next collective; the networks draw in eval mode
and without gradients, and modes and random states are afterwards what they were, so that a run with pictures and
one without are the same run.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import UInt8
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.images import save_png, to_float
from lightning_gen.inference import isolated_inference
from lightning_gen.types import Batch, ImageSource, MediaLogger


def first_images(trainer: Trainer, model: LightningModule, num: int) -> Batch | None:
    """Fetch the first validation images and their classes, on the model's device.

    Args:
        trainer: its data module may be an ``ImageSource``.
        model: names the device.
        num: how many; fewer where the split is smaller.

    Returns:
        Images in [-1, 1] and their classes, or None where the data module offers no images.
    """
    source = getattr(trainer, "datamodule", None)
    if not isinstance(source, ImageSource):
        return None
    held_out = source.image_set("val")
    labels = None if held_out.labels is None else torch.from_numpy(held_out.labels[:num]).to(model.device)
    return trainer.precision_plugin.convert_input(Batch(to_float(held_out[:num].to(model.device)), labels))


class PictureCallback(Callback, ABC):
    """Draws one picture each few epochs and at the end of training.

    Args:
        every_n_epochs: epochs from one picture to the next.

    Attributes:
        kind: the picture's name in its file and in the loggers.
        last_path: the newest picture's file, None before the first.
    """

    kind: ClassVar[str]

    def __init__(self, every_n_epochs: int = 1) -> None:
        if every_n_epochs < 1:
            raise InputError(f"every_n_epochs must be 1 or more, not {every_n_epochs}")
        self.every_n_epochs = every_n_epochs
        self.last_path: Path | None = None
        self._drawn_at = -1

    @abstractmethod
    def draw(self, trainer: Trainer, model: LightningModule) -> UInt8[Tensor, "3 height width"] | None:
        """Draw the picture; the networks are in eval mode and the random states are set aside.

        Args:
            trainer: the running trainer.
            model: the model that it trains.

        Returns:
            The picture, or None where the model lacks the capability.
        """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw after each ``every_n_epochs``-th epoch."""
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._publish(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last picture, unless the last epoch has just drawn it."""
        self._publish(trainer, pl_module)

    def _publish(self, trainer: Any, model: Any) -> None:
        images_seen = int(model.images_seen)
        if trainer.fast_dev_run or not trainer.is_global_zero or images_seen == self._drawn_at:
            return
        with isolated_inference(model, seed=0), trainer.precision_plugin.forward_context():
            picture = self.draw(trainer, model)
        if picture is None:
            return
        path = Path(trainer.default_root_dir) / "samples" / f"{self.kind}_{images_seen:09d}.png"
        save_png(picture, path)
        self.last_path, self._drawn_at = path, images_seen
        for logger in trainer.loggers:
            if isinstance(logger, MediaLogger):
                logger.log_image(self.kind, [picture.permute(1, 2, 0).numpy()], step=images_seen)
