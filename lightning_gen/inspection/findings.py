"""The result of an inspection, its files, and how pictures are composed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lightning_gen.cache import atomic
from lightning_gen.drawing import FONT_SIZE, GAP, Frames, Picture, as_tensor, save_gif
from lightning_gen.errors import InputError
from lightning_gen.images import enlarge, grid, save_png
from lightning_gen.types import StoredImages

Block = UInt8[Tensor, "3 _ _"]
Enlarged = UInt8[Tensor, "batch channels _ _"]
TILE = 48
"""Approximate height in pixels to which small images are enlarged."""


def enlarged(images: StoredImages, tile: int = TILE) -> Enlarged:
    """Enlarge small images by an integer factor to a height of about ``tile`` pixels."""
    return enlarge(images, max(1, round(tile / images.shape[-2])))


def strip(images: StoredImages, columns: int | None = None) -> Block:
    """Arrange uint8 images with one or three channels in an RGB grid, enlarged if they are small.

    Args:
        images: the images.
        columns: number of images per row; None for a single row.

    Returns:
        The grid.
    """
    return grid(enlarged(images), columns or len(images))


def table(blocks: Sequence[Sequence[Block]], rows: Sequence[str], columns: Sequence[str] = ()) -> Block:
    """Arrange pictures in a table on white.

    Args:
        blocks: rows with equal numbers of pictures.
        rows: labels to the left of the rows.
        columns: labels above the columns; empty for none.

    Returns:
        The table.
    """
    font = ImageFont.load_default(FONT_SIZE)
    left = GAP + max(round(font.getlength(label)) for label in rows) + GAP
    top = GAP + (FONT_SIZE + GAP if columns else 0)
    widths = [max(row[i].shape[2] for row in blocks) for i in range(len(blocks[0]))]
    heights = [max(block.shape[1] for block in row) for row in blocks]
    size = (left + sum(widths) + GAP * len(widths), top + sum(heights) + GAP * len(heights))
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for i, label in enumerate(columns):
        draw.text((left + sum(widths[:i]) + GAP * i, GAP), label, "black", font)
    for j, (row, label) in enumerate(zip(blocks, rows, strict=True)):
        y = top + sum(heights[:j]) + GAP * j
        draw.text((GAP, y + heights[j] // 2), label, "black", font, anchor="lm")
        for i, block in enumerate(row):
            page.paste(Image.fromarray(block.permute(1, 2, 0).numpy()), (left + sum(widths[:i]) + GAP * i, y))
    return as_tensor(page)


def stack_vertically(above: Block, beneath: Block) -> Block:
    """Stack two pictures on white, aligned at the left edge."""
    width = max(above.shape[2], beneath.shape[2])
    parts = [torch.nn.functional.pad(part, (0, width - part.shape[2]), value=255) for part in (above, beneath)]
    return torch.cat(parts, dim=1)


def render_figure(figure: Figure) -> UInt8[Tensor, "3 height width"]:
    """Render a figure made by ``Figure(...)``, without pyplot and its global state."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class Findings:
    """Pictures and numbers.

    Attributes:
        picture: uint8 RGB.
        numbers: measurements, plain values by name.
        frames: frames of an animation; None for no animation.
        summary: lines for the terminal.
    """

    picture: Picture
    numbers: Mapping[str, Any] = field(default_factory=dict)
    frames: Frames | None = None
    summary: tuple[str, ...] = ()

    def save(self, stem: Path) -> list[Path]:
        """Write ``stem.png`` and, for numbers and frames, ``stem.json`` and ``stem.gif``.

        Args:
            stem: path of the files without their extension.

        Returns:
            The paths of the files.

        Raises:
            InputError: if a number is not finite.
        """
        try:
            text = json.dumps(self.numbers, indent=2, allow_nan=False)
        except ValueError:
            raise InputError("some of the numbers are not finite: are the model's weights?") from None
        files = [stem.with_name(f"{stem.name}.png")]
        save_png(self.picture, files[0])
        if self.numbers:
            files.append(stem.with_name(f"{stem.name}.json"))
            with atomic(files[-1]) as temporary:
                temporary.write_text(text + "\n")
        if self.frames is not None:
            files.append(stem.with_name(f"{stem.name}.gif"))
            save_gif(self.frames, files[-1])
        return files
