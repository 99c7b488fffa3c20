"""Which values of a logged score are better."""

import re

from lightning_gen.evaluation.card import PREFIXES
from lightning_gen.evaluation.metric_record import Direction
from lightning_gen.evaluation.metrics import METRICS

DIRECTIONS: dict[str, Direction] = {
    score: direction for metric in METRICS.values() for score, direction in metric.scores.items()
}


def direction_of(name: str) -> Direction:
    """Whether higher or lower values of a score are better.

    Args:
        name: a score such as ``fid`` or ``fid_std``, or a protocol's name, which has the letter of what was scored
            before the score and a number after it, such as ``rfid1437_train_classifier``.

    Returns:
        The direction; None for a spread, and for a name that is not one of a score.
    """
    for score, direction in DIRECTIONS.items():
        if name == score or re.match(rf"[{''.join(PREFIXES.values())}]?{score}\d", name):
            return direction
    return None
