"""The animation of a run's pictures, from the first to the last."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from lightning_gen.drawing import as_tensor, save_gif

MAX_FRAMES = 48
MAX_WIDTH = 720
"""Width in pixels that larger pictures are reduced to."""
FRAME_MS, LAST_FRAME_MS = 150, 2000
"""Milliseconds that a frame, and the last one, is shown."""


def evenly_spaced(paths: Sequence[Path], num: int = MAX_FRAMES) -> list[Path]:
    """At most ``num`` of the files, among them the first and the last."""
    if len(paths) <= num:
        return list(paths)
    return [paths[round(i * (len(paths) - 1) / (num - 1))] for i in range(num)]


def animate(paths: Sequence[Path], path: Path) -> None:
    """Write an animation of pictures, with a bounded number of frames and a bounded width.

    Args:
        paths: PNG files in their order; those of another size than the last are left out.
        path: the GIF file.
    """
    pictures = []
    for source in evenly_spaced(paths):
        with Image.open(source) as image:
            pictures.append(image.convert("RGB"))
    pictures = [picture for picture in pictures if picture.size == pictures[-1].size]
    width, height = pictures[-1].size
    if width > MAX_WIDTH:
        size = (MAX_WIDTH, round(height * MAX_WIDTH / width))
        pictures = [picture.resize(size, Image.Resampling.LANCZOS) for picture in pictures]
    durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_FRAME_MS]
    save_gif([as_tensor(picture) for picture in pictures], path, durations)
