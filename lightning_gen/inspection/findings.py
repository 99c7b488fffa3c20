"""What an inspection hands back, and the files that it becomes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from lightning_gen.cache import atomic
from lightning_gen.errors import InputError
from lightning_gen.images import save_png

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
