"""Reading the pictures that callbacks save: grids of enlarged images under a line of text."""

from pathlib import Path

import torch
from torchvision.io import read_image
from torchvision.utils import make_grid

CAPTION = 14 + 2 * 8
"""Height of the line of text."""


def grid_of(path: Path | None) -> torch.Tensor:
    """A picture without its line of text."""
    return read_image(str(path))[:, CAPTION:]


def small_grid(path: Path | None, columns: int, size: int = 8) -> torch.Tensor:
    """The grid of a picture with its images at their own size; checks that each of their pixels is one square."""
    picture = grid_of(path)
    assert picture.shape[2] >= 512
    step = (picture.shape[2] - 1) // columns
    factor = (step - 1) // size
    assert columns * (factor * size + 1) + 1 == picture.shape[2]
    rows = (picture.shape[1] - 1) // step
    cells = picture[:, 1:, 1:].unflatten(1, (rows, step)).unflatten(3, (columns, step))[:, :, :-1, :, :-1]
    enlarged = cells.permute(1, 3, 0, 2, 4).flatten(0, 1)
    images = enlarged[:, :, ::factor, ::factor]
    assert images.repeat_interleave(factor, 2).repeat_interleave(factor, 3).equal(enlarged)
    return make_grid(images, nrow=columns, padding=1, pad_value=128)
