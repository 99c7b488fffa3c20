"""What an inspection hands back, and the files that it becomes."""

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
from lightning_gen.errors import InputError
from lightning_gen.images import grid, save_png
from lightning_gen.types import StoredImages

Block = UInt8[Tensor, "3 _ _"]
Enlarged = UInt8[Tensor, "batch channels _ _"]
TILE = 48
"""Height in pixels to which small images are enlarged."""
GAP = 8
FONT_SIZE = 14


def enlarged(images: StoredImages, tile: int = TILE) -> Enlarged:
    """Repeat the pixels of small images a whole number of times, so that they come near ``tile`` pixels in height."""
    factor = max(1, round(tile / images.shape[-2]))
    return images.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


def strip(images: StoredImages, columns: int | None = None) -> Block:
    """Lay images out in a grid, enlarged where they are small.

    Args:
        images: uint8 images, one or three channels.
        columns: images in a row; all in one row when None.

    Returns:
        uint8 RGB.
    """
    return grid(enlarged(images), columns or len(images))


def table(blocks: Sequence[Sequence[Block]], rows: Sequence[str], columns: Sequence[str] = ()) -> Block:
    """Put pictures in a table.

    Args:
        blocks: rows of pictures, as many in each.
        rows: what stands to the left of each row.
        columns: what stands above each column; nothing when empty.

    Returns:
        uint8 RGB on white.
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


def below(above: Block, beneath: Block) -> Block:
    """Put a picture below another on white, both at the left edge."""
    width = max(above.shape[2], beneath.shape[2])
    parts = [torch.nn.functional.pad(part, (0, width - part.shape[2]), value=255) for part in (above, beneath)]
    return torch.cat(parts, dim=1)


def as_tensor(image: Image.Image) -> UInt8[Tensor, "channels _ _"]:
    """The pixels of an 8-bit grey or RGB image."""
    height, width = image.height, image.width
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.reshape(height, width, -1).permute(2, 0, 1).contiguous()


def picture_of(figure: Figure) -> UInt8[Tensor, "3 height width"]:
    """Draw a figure, with no window and no state that others share.

    Args:
        figure: made by ``Figure(...)``, not by pyplot.

    Returns:
        uint8 RGB, the figure's size in inches times its dots per inch.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()


Picture = UInt8[Tensor, "3 height width"]
Frames = UInt8[Tensor, "frames 3 frame_height frame_width"]


@dataclass(frozen=True)
class Findings:
    """Pictures and numbers.

    Attributes:
        picture: uint8 RGB.
        numbers: what was measured, plain values by name; empty where there is nothing to measure.
        frames: the pictures of an animation.
        summary: lines for the terminal.
    """

    picture: Picture
    numbers: Mapping[str, Any] = field(default_factory=dict)
    frames: Frames | None = None
    summary: tuple[str, ...] = ()

    def save(self, stem: Path) -> list[Path]:
        """Write ``stem.png`` and, where there are such, ``stem.json`` and ``stem.gif``.

        Args:
            stem: the files' path without an ending.

        Returns:
            The files.

        Raises:
            InputError: when a number is not finite.
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


def save_gif(frames: Frames, path: Path, milliseconds: int = 80) -> None:
    """Write an animation that goes round for ever.

    Args:
        frames: uint8 RGB pictures.
        path: the file.
        milliseconds: how long a frame is shown.
    """
    first, *others = [Image.fromarray(frame.permute(1, 2, 0).cpu().numpy()) for frame in frames]
    with atomic(path) as temporary:
        first.save(temporary, format="gif", save_all=True, append_images=others, duration=milliseconds, loop=0)
