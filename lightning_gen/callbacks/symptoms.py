"""The symptoms of failing two-player training, one record each in one table, and the detector that applies them.

A symptom is present when all of its criteria are met; a criterion compares one of the statistics in statistics.py with
a threshold. To add a symptom, add a record to ``SYMPTOMS``. The thresholds were set on healthy runs and on runs that
were made to fail; docs/watchdog.md lists the values that healthy runs reach.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from lightning_gen.callbacks import remedies, statistics
from lightning_gen.callbacks.measurements import Measurement
from lightning_gen.callbacks.remedies import Remedy
from lightning_gen.callbacks.statistics import PERSISTENCE, History

WEIGHT_GROWTH = 20
"""Growth of the weights within 200 batches; at most 1.6 in healthy runs."""
TIMES_REAL_DISTANCE = 100
"""The discriminator's outputs or loss, relative to the distance between real images; about 1 in healthy runs."""
DIVERSITY = 0.2
"""Distance between samples, relative to real images; about 1 in healthy runs."""
DIVERSITY_BY_CONTRAST = 0.18
"""The same, relative to the samples' contrast; at least 0.22 in healthy runs at any time."""
CONTRAST = 0.25
"""Contrast of samples, relative to real images; less in an untrained generator, whose samples are grey."""
CLASS_SHARE = 0.5
"""Share of the classes that samples cover; 1 in healthy runs."""
SWINGS = 7
"""Swings of the discriminator's loss in 100 batches. Healthy runs with large learning rates have up to 5 in their first
300 batches, and hardly any later."""
LOSS_SHARE = 1e-3
"""The discriminator's loss, relative to chance; at least 0.015 in healthy runs."""
HINGE_MARGIN = 15
"""Distance between the outputs for real and generated images under a hinge loss, many times its margin."""
GRADIENT_SHARE = 1e-3
"""The generator's gradient, relative to its early norm; at least 0.05 in healthy runs."""
HYSTERESIS = 2.0
"""A failure ends when its symptoms are weaker than their thresholds by this factor."""


@dataclass(frozen=True)
class AtLeast:
    """The criterion that a statistic is not below a threshold; not met where the statistic is None.

    Attributes:
        statistic: a function of the history.
        threshold: the threshold at which a failure begins.
    """

    statistic: Callable[[History], float | None]
    threshold: float

    def is_met(self, history: History, hysteresis: float = 1.0) -> bool:
        """Whether the statistic reaches the threshold, which is divided by ``hysteresis``."""
        value = self.statistic(history)
        return value is not None and value >= self.threshold / hysteresis


@dataclass(frozen=True)
class Below:
    """The criterion that a statistic is below a threshold; not met where the statistic is None.

    Attributes:
        statistic: a function of the history.
        threshold: the threshold at which a failure begins.
        max_threshold: upper limit of the threshold after hysteresis.
    """

    statistic: Callable[[History], float | None]
    threshold: float
    max_threshold: float = math.inf

    def is_met(self, history: History, hysteresis: float = 1.0) -> bool:
        """Whether the statistic is below the threshold, which is multiplied by ``hysteresis``."""
        value = self.statistic(history)
        return value is not None and value < min(self.threshold * hysteresis, self.max_threshold)


@dataclass(frozen=True)
class Symptom:
    """A sign of a failure, with its message and its remedies.

    Attributes:
        failure: name of the failure.
        criteria: the statistics and their thresholds, all of which must be met.
        message: the evidence in words, e.g. for a report.
        remedies: what to try, the most promising first.
    """

    failure: str
    criteria: tuple[AtLeast | Below, ...]
    message: Callable[[History], str]
    remedies: tuple[Remedy, ...]

    def is_present(self, history: History, hysteresis: float = 1.0) -> bool:
        """Whether all criteria are met, with thresholds relaxed by ``hysteresis``."""
        return all(criterion.is_met(history, hysteresis) for criterion in self.criteria)


# ---- the evidence in words


def growth_message(history: History, player: statistics.Player) -> str:
    """By how much a player's weights grew."""
    growth = statistics.growth(statistics.valid_weight_norms(history, player)) or 0.0
    return f"the {player}'s weights grew {growth:,.0f}-fold in {statistics.growth_batches(history, player)} batches"


def output_gap_message(history: History) -> str:
    """How far the discriminator's outputs lie apart."""
    gap, times = statistics.median_output_gap(history), statistics.relative_output_gap(history)
    return (
        f"the discriminator's outputs for real and generated images differ by {gap:,.0f}, "
        f"{times:,.0f} times the distance between real images"
    )


def loss_message(history: History) -> str:
    """How large the discriminator's loss is."""
    loss, times = statistics.median_loss(history), statistics.relative_loss(history)
    return f"the discriminator's loss is {loss:,.0f}, {times:,.0f} times the distance between real images"


def certainty_message(history: History) -> str:
    """How small the discriminator's loss is, and how far its outputs lie apart."""
    share, gap = statistics.loss_below_chance(history), statistics.signed_output_gap(history)
    message = (
        f"for {PERSISTENCE} batches the discriminator's loss has been {share:.1g} of its value at chance "
        f"(below {LOSS_SHARE:g})"
    )
    return message if gap is None else f"{message}, and its outputs for real and generated images differ by {gap:.3g}"


# ---- the table

SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        "nan",
        (AtLeast(statistics.num_non_finite, 1),),
        lambda history: f"{statistics.non_finite_quantities(history)[0]} is not finite",
        remedies.AGAINST_NAN,
    ),
    Symptom(
        "divergence",
        (AtLeast(statistics.generator_growth, WEIGHT_GROWTH),),
        lambda history: growth_message(history, "generator"),
        remedies.AGAINST_DIVERGENCE,
    ),
    Symptom(
        "divergence",
        (AtLeast(statistics.discriminator_growth, WEIGHT_GROWTH),),
        lambda history: growth_message(history, "discriminator"),
        remedies.AGAINST_DIVERGENCE,
    ),
    Symptom(
        "divergence",
        (AtLeast(statistics.relative_output_gap, TIMES_REAL_DISTANCE),),
        output_gap_message,
        remedies.AGAINST_DIVERGENCE,
    ),
    Symptom(
        "divergence",
        (AtLeast(statistics.relative_loss, TIMES_REAL_DISTANCE),),
        loss_message,
        remedies.AGAINST_DIVERGENCE,
    ),
    Symptom(  # samples that are alike, but not grey
        "mode_collapse",
        (
            Below(statistics.max_diversity, DIVERSITY),
            Below(statistics.max_diversity_by_contrast, DIVERSITY_BY_CONTRAST),
            AtLeast(statistics.min_contrast, CONTRAST),
        ),
        lambda history: (
            f"the distance between fixed-noise samples is {statistics.mean_diversity(history):.2f} of that between "
            f"real images (below {DIVERSITY})"
        ),
        remedies.AGAINST_COLLAPSE,
    ),
    Symptom(  # classes that the samples once covered
        "mode_collapse",
        (Below(statistics.max_class_share, CLASS_SHARE, max_threshold=statistics.MODE_COVERAGE),),
        lambda history: (
            f"fixed-noise samples cover {fmean(history.class_shares):.0%} of the classes (below {CLASS_SHARE:.0%})"
        ),
        remedies.AGAINST_COLLAPSE,
    ),
    Symptom(
        "oscillation",
        (AtLeast(statistics.loss_swings, SWINGS),),
        lambda history: (
            f"in {len(history.losses)} batches the discriminator's loss swung {statistics.loss_swings(history)} times "
            f"between above {statistics.HIGH_LOSS} and below {statistics.LOW_LOSS} of its value at chance"
        ),
        remedies.AGAINST_OSCILLATION,
    ),
    Symptom(  # a loss near 0; for a hinge loss, outputs many times its margin apart as well
        "discriminator_too_strong",
        (Below(statistics.loss_below_chance, LOSS_SHARE), AtLeast(statistics.certainty_margin, HINGE_MARGIN)),
        certainty_message,
        remedies.AGAINST_STRONG_DISCRIMINATOR,
    ),
    Symptom(
        "discriminator_too_strong",
        (Below(statistics.relative_gradient, GRADIENT_SHARE),),
        lambda history: (
            f"the generator's gradient has vanished: {statistics.relative_gradient(history):.1g} of its early norm "
            f"(below {GRADIENT_SHARE:g})"
        ),
        remedies.AGAINST_STRONG_DISCRIMINATOR,
    ),
)
"""In order of precedence: while a failure lasts, later ones are its consequences and are not reported."""

FAILURES: tuple[str, ...] = tuple(dict.fromkeys(symptom.failure for symptom in SYMPTOMS))
"""The names of the failures, in order of precedence."""


# ---- detection


class Finding(NamedTuple):
    """The beginning or the end of a failure.

    Attributes:
        failure: name of the failure.
        symptom: the symptom by which it was detected; None when the failure has ended.
        evidence: the symptom's message; None when the failure has ended.
    """

    failure: str
    symptom: Symptom | None = None
    evidence: str | None = None


class FailureDetector:
    """Detects the beginning and the end of failures, each of which is reported once.

    Args:
        every_n_batches: training batches between two measurements.
        baselines: the baselines of a resumed run.
    """

    def __init__(self, every_n_batches: int, baselines: Mapping[str, Any] | None = None) -> None:
        self.history = History(every_n_batches, baselines)
        self.active: str | None = None
        self.num_clear = 0

    def state(self) -> dict[str, Any]:
        """The measurements and the active failure, as plain values; the baselines are not included."""
        return {"history": self.history.state(), "active": self.active, "num_clear": self.num_clear}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state` returned."""
        self.history.load_state(state["history"])
        self.active, self.num_clear = state["active"], state["num_clear"]

    def reset(self, generator_weights: float, discriminator_weights: float) -> None:
        """Discard all measurements and the active failure; keep the baselines.

        The norms of the weights before the first batch are needed because an excessive learning rate acts in one step.

        Args:
            generator_weights: 2-norm of the generators' weights.
            discriminator_weights: 2-norm of the discriminators' weights.
        """
        self.history.clear()
        self.history.add_weight_norms(generator_weights, discriminator_weights)
        self.active, self.num_clear = None, 0

    def update(self, measurement: Measurement) -> list[Finding]:
        """Add a measurement.

        Args:
            measurement: the measurement.

        Returns:
            The failures that ended or began; usually none.
        """
        self.history.add(measurement)
        present = next((symptom for symptom in SYMPTOMS if symptom.is_present(self.history)), None)
        if present is not None and self.precedes_active(present.failure):
            ended = [] if self.active is None else [Finding(self.active)]
            self.active, self.num_clear = present.failure, 0
            return [*ended, Finding(present.failure, present, present.message(self.history))]
        if self.active is None:
            return []
        self.num_clear = 0 if self.persists(self.active) else self.num_clear + 1
        if self.num_clear < self.history.patience:
            return []
        ended = [Finding(self.active)]
        self.active, self.num_clear = None, 0
        return ended

    def precedes_active(self, failure: str) -> bool:
        """Whether a failure takes precedence over the active one; True where none is active."""
        return self.active is None or FAILURES.index(failure) < FAILURES.index(self.active)

    def persists(self, failure: str) -> bool:
        """Whether a failure still has a symptom, by the thresholds of its end."""
        return any(symptom.is_present(self.history, HYSTERESIS) for symptom in SYMPTOMS if symptom.failure == failure)
