"""Which values of a logged score are better."""

from lightning_gen.evaluation.metric_record import Direction
from lightning_gen.evaluation.metrics import METRICS

DIRECTIONS: dict[str, Direction] = {
    score: direction for metric in METRICS.values() for score, direction in metric.scores.items()
}


def direction_of(name: str) -> Direction:
    """Whether higher or lower values of a score are better.

    Args:
        name: a score such as ``fid`` or ``fid_std``, or a protocol's name, which begins with that of its score, such as
            ``fid1437_train_classifier``.

    Returns:
        The direction; None for a spread, and for a name that is not one of a score.
    """
    scores = [score for score in DIRECTIONS if name.startswith(score)]
    return DIRECTIONS[max(scores, key=len)] if scores else None
