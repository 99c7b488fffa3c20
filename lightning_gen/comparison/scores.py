"""The scores of a run, from its score cards."""

from pathlib import Path
from typing import NamedTuple

from lightning_gen.evaluation.card import ScoreCard, is_spread
from lightning_gen.evaluation.card_file import read_card

IN_TRAINING = "epoch"
"""The names of cards that are made during training begin with this word."""


class Key(NamedTuple):
    """What may be compared: a score under one protocol."""

    score: str
    protocol: str


class Score(NamedTuple):
    """A score.

    Attributes:
        value: its value.
        spread: standard deviation over the draws of samples, or standard error; None for a single draw.
        images_seen: the number of images that the scored model was trained on; None if unknown.
        in_training: whether it was computed during training, on the draw that chooses the best checkpoint.
    """

    value: float
    spread: float | None
    images_seen: int | None
    in_training: bool


def read_scores(folder: Path) -> dict[Key, Score]:
    """Read the scores of a run.

    A score of the command ``evaluate`` replaces one that was computed in training, one with a spread replaces one
    without, and otherwise a newer one replaces an older one.

    Args:
        folder: the folder of the run's score cards.

    Returns:
        The scores.
    """
    cards = [(path.name.startswith(IN_TRAINING), read_card(path)) for path in sorted(folder.glob("*.json"))]
    scores: dict[Key, Score] = {}
    for in_training, card in sorted(cards, key=rank):
        for name, value in card.scores.items():
            if not is_spread(name):
                key = Key(name, card.protocol_of_score(name))
                scores[key] = Score(value, card.spread_of(name), card.images_seen, in_training)
    return scores


def rank(entry: tuple[bool, ScoreCard]) -> tuple[bool, bool, str, int]:
    """The order of cards, of which a later one replaces an earlier one."""
    in_training, card = entry
    return not in_training, bool(card.draws), card.date, card.images_seen or 0
