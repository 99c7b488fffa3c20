"""The pictures of an exported model: samples, or translations or reconstructions of its data."""

from pathlib import Path
from typing import Any

import torch

from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.images import PICTURE_WIDTH, grid, save_png, to_uint8
from lightning_gen.inspection import Subject
from lightning_gen.inspection.reconstruct import reconstruct
from lightning_gen.inspection.translate import translate
from lightning_gen.noise import image_generators
from lightning_gen.types import ImageGenerator, Translator

GRID_COLUMNS = 8
NUM_SINGLE = 8
"""Number of samples that are written as files of their own, beside the grid."""


def write_pictures(model: Any, data: ImageData | None, folder: Path, seed: int) -> dict[str, str]:
    """Write pictures to the sub-folder ``samples``.

    Args:
        model: the model.
        data: the data that it was trained with; None where it is unknown. Samples do not need it.
        folder: the folder of the export.
        seed: seed of what is sampled.

    Returns:
        Captions by file name, relative to the folder; empty where the pictures need data that is missing.
    """
    if isinstance(model, ImageGenerator):
        return write_samples(model, folder, seed)
    if data is None:
        return {}
    subject = Subject(model, data, seed)
    is_translator = isinstance(model, Translator)
    name = "translations" if is_translator else "reconstructions"
    try:
        picture = (translate(subject) if is_translator else reconstruct(subject)).picture
    except InputError:  # the data is not on this machine
        return {}
    file = f"samples/{name}.png"
    save_png(picture, folder / file)
    return {file: f"{name.capitalize()} of test images"}


def write_samples(model: ImageGenerator, folder: Path, seed: int) -> dict[str, str]:
    """Write a grid of samples, with a row per class of a conditional model, and single samples.

    Args:
        model: the model.
        folder: the folder of the export.
        seed: seed of the noise; sample i depends on (seed, i) and its class alone.

    Returns:
        The caption of the grid by its file name.
    """
    num_classes = getattr(model, "num_classes", 0)
    num = GRID_COLUMNS * min(max(num_classes, GRID_COLUMNS), 2 * GRID_COLUMNS)
    labels = torch.arange(num) // GRID_COLUMNS % num_classes if num_classes else None
    device = getattr(model, "device", "cpu")
    images = model.sample(
        num, labels=None if labels is None else labels.to(device), generator=image_generators(seed, range(num))
    )
    stored = to_uint8(images).cpu()
    for index, image in enumerate(stored[:NUM_SINGLE]):
        save_png(image, folder / "samples" / f"{index:06d}.png")
    save_png(grid(stored, GRID_COLUMNS, PICTURE_WIDTH), folder / "samples" / "grid.png")
    rows = ", one class per row" if num_classes else ""
    return {"samples/grid.png": f"Samples of seed {seed}{rows}"}
