"""Figures of a run over the number of images seen, read from its ``metrics.csv``."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from lightning_gen.errors import InputError

AXIS = "images_seen"


class Curve(NamedTuple):
    """Values of a figure, and the number of images seen at each; neither is empty."""

    images_seen: list[int]
    values: list[float]


def read_curves(path: Path) -> dict[str, Curve]:
    """Read the figures of a run.

    Args:
        path: the file; without it, there are none.

    Returns:
        A curve for each column of finite numbers, without the values of other kinds.

    Raises:
        InputError: if the file cannot be read.
    """
    if not path.is_file():
        return {}
    curves: dict[str, Curve] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                images_seen = number(row.get(AXIS))
                if images_seen is None:
                    continue
                for name, text in row.items():
                    value = None if name in (AXIS, "epoch", "step", None) else number(text)
                    if value is not None:
                        curve = curves.setdefault(name, Curve([], []))
                        curve.images_seen.append(int(images_seen))
                        curve.values.append(value)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    return curves


def number(text: object) -> float | None:
    """The finite number in a text; None for any other text."""
    try:
        value = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def running_mean(values: list[float], window: int) -> list[float]:
    """The mean of each value and those before it, of at most ``window`` values."""
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value - (values[i - window] if i >= window else 0.0)
        means.append(total / min(i + 1, window))
    return means
