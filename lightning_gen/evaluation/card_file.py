"""Reading score cards from files."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lightning_gen.errors import InputError
from lightning_gen.evaluation.band import Band
from lightning_gen.evaluation.card import ScoreCard

NAMES = {field.name for field in fields(ScoreCard)}
LISTS = ("metrics", "draws", "notes")
"""Fields that are tuples on the card and lists in its file."""


def is_numbers(value: Any) -> bool:
    """Whether a value is a dictionary of numbers."""
    return isinstance(value, dict) and all(isinstance(item, int | float) for item in value.values())


def is_texts(value: Any) -> bool:
    """Whether a value is a dictionary of texts."""
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "scores": is_numbers,
    "spread": is_numbers,
    "protocol": is_texts,
    "generated": lambda value: isinstance(value, str),
    "date": lambda value: isinstance(value, str),
    "images_seen": lambda value: value is None or isinstance(value, int),
    "image_shape": lambda value: value is None or (isinstance(value, list) and len(value) == 3),
    "bands": lambda value: isinstance(value, dict) and all(isinstance(item, dict) for item in value.values()),
    **dict.fromkeys(LISTS, lambda value: isinstance(value, list)),
}
"""The fields whose types are checked."""


def read_card(path: Path) -> ScoreCard:
    """Read a score card that :meth:`ScoreCard.save` wrote. Entries of other versions that are unknown are left out.

    Args:
        path: the JSON file.

    Returns:
        The card.

    Raises:
        InputError: if the file cannot be read, or an entry is missing or has another type.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        values = {name: value for name, value in entries.items() if name in NAMES}
        wrong = [name for name, check in CHECKS.items() if name in values and not check(values[name])]
        if wrong:
            raise ValueError(f"its entry {wrong[0]} has another type")
        values |= {name: tuple(values[name]) for name in (*LISTS, "image_shape") if values.get(name) is not None}
        values |= {"bands": {name: Band(**band) for name, band in values.get("bands", {}).items()}}
        return ScoreCard(**values)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not a score card: {error}") from None
