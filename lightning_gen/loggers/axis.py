"""The axis of every figure: ``images_seen``, the number of images that the model was trained on."""

from collections.abc import Mapping
from typing import Any

AXIS = "images_seen"


class Axis:
    """Adds ``images_seen`` to rows of figures; those that are logged without it get its last value."""

    def __init__(self) -> None:
        self.images_seen: int | None = None

    def add_to(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The figures with ``images_seen`` first, whose value is kept for those that come without it."""
        row = self.merged(metrics)
        self.images_seen = row.get(AXIS)
        return row

    def merged(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The figures with ``images_seen`` first, rounded because Lightning may have averaged it."""
        images_seen = round(float(metrics[AXIS])) if AXIS in metrics else self.images_seen
        axis = {} if images_seen is None else {AXIS: images_seen}
        return axis | {name: value for name, value in metrics.items() if name != AXIS}
