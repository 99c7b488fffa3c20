"""Text on pictures, and animations, drawn by Pillow with its own font."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lightning_gen.cache import atomic

Picture = UInt8[Tensor, "3 height width"]
Frames = UInt8[Tensor, "frames 3 frame_height frame_width"]
GAP = 8
"""Pixels between text and pictures."""
FONT_SIZE = 14


def as_tensor(image: Image.Image) -> UInt8[Tensor, "channels _ _"]:
    """Pixels of an 8-bit grey or RGB image."""
    height, width = image.height, image.width
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.reshape(height, width, -1).permute(2, 0, 1).contiguous()


def as_image(picture: Picture) -> Image.Image:
    """An RGB picture as an image of Pillow."""
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().cpu().numpy())


def with_caption(picture: Picture, caption: str) -> UInt8[Tensor, "3 _ _"]:
    """Draw a line of text on white above a picture, which is widened on the right if the text is longer.

    Args:
        picture: the picture.
        caption: the text.

    Returns:
        The picture below the text.
    """
    font = ImageFont.load_default(FONT_SIZE)
    top = FONT_SIZE + 2 * GAP
    width = max(picture.shape[2], round(font.getlength(caption)) + 2 * GAP)
    page = Image.new("RGB", (width, top + picture.shape[1]), "white")
    ImageDraw.Draw(page).text((GAP, top // 2), caption, "black", font, anchor="lm")
    page.paste(as_image(picture), (0, top))
    return as_tensor(page)


def save_gif(frames: Frames | Sequence[Picture], path: Path, milliseconds: int | Sequence[int] = 80) -> None:
    """Write a looping animation.

    Args:
        frames: pictures of one size.
        path: the file.
        milliseconds: duration of a frame, or of each.
    """
    first, *others = map(as_image, frames)
    duration = milliseconds if isinstance(milliseconds, int) else list(milliseconds)
    with atomic(path) as temporary:
        first.save(temporary, format="gif", save_all=True, append_images=others, duration=duration, loop=0)
