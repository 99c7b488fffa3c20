"""What is printed before the first batch of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import rich
from pytorch_lightning import Callback, LightningModule, Trainer

from lightning_gen.callbacks.players import num_parameters, players
from lightning_gen.callbacks.run_length import describe_limits
from lightning_gen.types import ImageSource, PairSource

LABEL_WIDTH = 9
"""Characters of the label before a line."""


def print_line(label: str, text: str) -> None:
    """Print a labelled line, which is not broken at the terminal's width."""
    console = rich.get_console()
    console.print(f"[bold]{label:<{LABEL_WIDTH}}[/bold]", end="", soft_wrap=True)
    console.print(text, markup=False, highlight=False, soft_wrap=True)


class RunHeader(Callback):
    """Prints the model, the data, how it is trained, and the run's folder, before the first batch."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the lines on rank 0."""
        if trainer.is_global_zero:
            for label, text in header_lines(trainer, pl_module).items():
                print_line(label, text)


def header_lines(trainer: Any, model: Any) -> dict[str, str]:
    """The lines before a run.

    Args:
        trainer: a trainer in ``fit``, set up.
        model: the model.

    Returns:
        Texts by their labels.
    """
    lines = {"Model": model_line(model), "Data": data_line(trainer), "Training": training_line(trainer)}
    lines["Run"] = str(Path(trainer.default_root_dir))
    images_seen = getattr(model, "images_seen", 0)
    if images_seen:
        lines["Resumed"] = f"in epoch {trainer.current_epoch + 1}, after {images_seen:,} images"
    return {label: text for label, text in lines.items() if text}


def model_line(model: Any) -> str:
    """The class and the parameters of each player, e.g. ``DCGAN: generator 1,234, discriminator 567 parameters``."""
    counts = [f"{name} {num_parameters(networks):,}" for name, networks in players(model).items()]
    return f"{type(model).__name__}: {', '.join(counts)} parameters"


def data_line(trainer: Any) -> str:
    """The name, the number, the size and the classes of the training images; empty without image sets."""
    source = trainer.datamodule
    if not isinstance(source, ImageSource):
        return ""
    images = source.image_set("train")
    channels, height, width = images[:1].shape[1:]
    words = [f"{images.name}: {len(images):,} images", f"{height} x {width}", "grey" if channels == 1 else "colour"]
    if images.labels is not None:
        words.append(f"{len(np.unique(images.labels)):,} classes")
    pairs = source.pair_set("train") if isinstance(source, PairSource) else None
    if pairs is not None:
        words.append(f"{len(pairs.inputs):,} {'paired' if pairs.paired else 'unpaired'} inputs")
    return ", ".join(words)


def training_line(trainer: Any) -> str:
    """Device, precision, batch and length of the run."""
    device = trainer.strategy.root_device
    devices = f"{trainer.world_size} x {device.type}" if trainer.world_size > 1 else str(device)
    batch = getattr(trainer.datamodule, "batch_size", None)
    words = [devices, f"precision {trainer.precision}"]
    if batch is not None:
        total = batch * trainer.world_size * trainer.accumulate_grad_batches
        words.append(f"batch {batch}" if total == batch else f"batch {total} ({batch} per process and step)")
    words.append(describe_limits(trainer))
    return ", ".join(words)
