r"""The statistics by which failures of two-player training are detected, computed from a run's newest measurements.

Objectives differ in scale and offset: the logits of a cross entropy are log odds, least squares has the targets 0 and
1, and the outputs of a Wasserstein critic have neither a zero nor a unit. Each statistic is therefore relative to a
quantity of the same run:

* the discriminator's loss to its value in the first batch, where the discriminator is at chance (2 log 2 for the cross
  entropy, 2 for the hinge loss). Every objective but Wasserstein's is bounded below by 0. Once the loss has been
  negative, it is not used;
* the generator's gradient to its norm early in the run, weights to their norm up to 200 batches before;
* outputs to the distance between real images. A critic whose outputs differ by a hundred times the distance between
  the images violates any Lipschitz bound that an objective could imply;
* the distance between samples to the distance between real images, and to the samples' own contrast. The samples of an
  untrained generator are alike because they are grey; those of a collapsed one are alike but not grey.

A statistic is a function of a :class:`History`. It is None where the history has too few or unusable numbers.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, quantiles
from typing import Any, Literal, TypeGuard

from lightning_gen.callbacks.measurements import Measurement
from lightning_gen.errors import InputError

Player = Literal["generator", "discriminator"]

PERSISTENCE = 60
"""Number of batches for which most symptoms must last."""
LOSS_WINDOW = 100
"""Number of batches whose losses and output gaps are stored."""
GROWTH_WINDOW = 200
"""Number of batches over which the growth of weights is measured."""
EARLY_MEASUREMENTS = 5
"""Number of measurements at the start of a run that give the early gradient norm."""
MODE_COVERAGE = 0.75
"""Share of the classes that samples must have covered once before classes can count as lost."""
HIGH_LOSS, LOW_LOSS = 2.0, 0.2
"""Bounds of a swing, relative to the loss at chance: the discriminator is worse than chance, or certain."""


@dataclass
class Baselines:
    """The reference values of a run, from its beginning; saved in checkpoints.

    Attributes:
        chance: the discriminator's loss in the first batch; 0 where it is unusable, None before the first batch.
        bounded: whether that loss has never been negative.
        gradients: norms of the generator's gradient at the first measurements.
        classes_found: whether samples have once covered ``MODE_COVERAGE`` of the classes.

    Raises:
        InputError: if a value, which may come from a checkpoint, has another type.
    """

    chance: float | None = None
    bounded: bool = True
    gradients: list[float] = field(default_factory=list)
    classes_found: bool = False

    def __post_init__(self) -> None:
        is_list = isinstance(self.gradients, list) and all(isinstance(norm, float) for norm in self.gradients)
        is_switch = isinstance(self.bounded, bool) and isinstance(self.classes_found, bool)
        if not (isinstance(self.chance, float | None) and is_switch and is_list):
            raise InputError(f"the watchdog's baselines are damaged: {self}")


class History:
    """The newest measurements of a run and its baselines.

    Args:
        every_n_batches: training batches between two measurements.
        baselines: the fields of :class:`Baselines` of a resumed run.
    """

    def __init__(self, every_n_batches: int, baselines: Mapping[str, Any] | None = None) -> None:
        self.every_n_batches = every_n_batches
        self.patience = max(2, math.ceil(PERSISTENCE / every_n_batches))
        """Number of measurements for which most symptoms must last."""
        self.baselines = Baselines(**(baselines or {}))
        self.clear()

    def clear(self) -> None:
        """Discard the measurements, as after a rollback. The baselines stay."""
        growth_measurements = 1 + math.ceil(GROWTH_WINDOW / self.every_n_batches)
        self.measurements: deque[Measurement] = deque(maxlen=self.patience)
        self.weight_norms: dict[Player, deque[float | None]] = {
            "generator": deque(maxlen=growth_measurements),
            "discriminator": deque(maxlen=growth_measurements),
        }
        self.losses: deque[float] = deque(maxlen=LOSS_WINDOW)
        self.output_gaps: deque[float] = deque(maxlen=LOSS_WINDOW)
        self.class_shares: deque[float] = deque(maxlen=2)

    def state(self) -> dict[str, Any]:
        """The measurements, as plain values."""
        return {
            "measurements": [measurement._asdict() for measurement in self.measurements],
            "weight_norms": {player: list(norms) for player, norms in self.weight_norms.items()},
            **{name: list(getattr(self, name)) for name in ("losses", "output_gaps", "class_shares")},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the measurements of :meth:`state`."""
        self.clear()
        self.measurements.extend(Measurement(**values) for values in state["measurements"])
        for player, norms in self.weight_norms.items():
            norms.extend(state["weight_norms"][player])
        for name in ("losses", "output_gaps", "class_shares"):
            getattr(self, name).extend(state[name])

    def add_weight_norms(self, generator: float | None, discriminator: float | None) -> None:
        """Record the 2-norms of the players' weights."""
        self.weight_norms["generator"].append(generator)
        self.weight_norms["discriminator"].append(discriminator)

    def add(self, measurement: Measurement) -> None:
        """Record a measurement, and update the baselines."""
        self.measurements.append(measurement)
        self.add_weight_norms(measurement.generator_weights, measurement.discriminator_weights)
        baselines = self.baselines
        losses = measurement.terms.get("discriminator", ())
        if losses and baselines.chance is None:
            is_first = measurement.batches_seen == len(losses)  # False in a run that was resumed without baselines
            baselines.chance = losses[0] if is_first and math.isfinite(losses[0]) else 0.0
        baselines.bounded = baselines.bounded and all(loss >= 0 for loss in losses if math.isfinite(loss))
        self.losses.extend(losses)
        real_logits = measurement.terms.get("real_logit", ())
        fake_logits = measurement.terms.get("fake_logit", ())
        self.output_gaps.extend(real - fake for real, fake in zip(real_logits, fake_logits, strict=False))
        gradient = measurement.generator_gradient
        is_early = measurement.batches_seen <= EARLY_MEASUREMENTS * self.every_n_batches
        if is_early and gradient and math.isfinite(gradient):
            baselines.gradients.append(gradient)
        if measurement.classes is not None:
            found, total = measurement.classes
            share = found / max(1, total)
            self.class_shares.append(share)
            baselines.classes_found |= share >= MODE_COVERAGE


# ---- numerical failure


def non_finite_quantities(history: History) -> list[str]:
    """The quantities of the newest measurement that are NaN or infinite, in words."""
    newest = history.measurements[-1]
    names = [f"the loss term {name}" for name, values in newest.terms.items() if not all(map(math.isfinite, values))]
    for quantity in ("weights", "gradient"):
        for player in ("generator", "discriminator"):
            norm = getattr(newest, f"{player}_{quantity}")
            if norm is not None and not math.isfinite(norm):
                names.append(f"the norm of the {player}'s {quantity}")
    return names


def num_non_finite(history: History) -> float:
    """The number of quantities that are NaN or infinite."""
    return len(non_finite_quantities(history))


# ---- divergence


def valid_weight_norms(history: History, player: Player) -> list[float]:
    """The finite, positive norms of a player's weights."""
    return [norm for norm in history.weight_norms[player] if norm is not None and math.isfinite(norm) and norm]


def generator_growth(history: History) -> float | None:
    """The norm of the generator's weights, relative to its minimum over the last ``GROWTH_WINDOW`` batches."""
    return growth(valid_weight_norms(history, "generator"))


def discriminator_growth(history: History) -> float | None:
    """The norm of the discriminator's weights, relative to its minimum over the last ``GROWTH_WINDOW`` batches."""
    return growth(valid_weight_norms(history, "discriminator"))


def growth(norms: Sequence[float]) -> float | None:
    """The last value relative to the minimum."""
    return norms[-1] / min(norms) if norms else None


def growth_batches(history: History, player: Player) -> int:
    """The number of batches since a player's weights had their minimum norm."""
    norms = valid_weight_norms(history, player)
    return (len(norms) - 1 - norms.index(min(norms))) * history.every_n_batches


def median_output_gap(history: History) -> float | None:
    """The median absolute difference between the outputs for real and generated images, since the last measurement."""
    return median_magnitude(history.output_gaps, history.every_n_batches)


def median_loss(history: History) -> float | None:
    """The median absolute loss of the discriminator since the last measurement."""
    return median_magnitude(history.losses, history.every_n_batches)


def relative_output_gap(history: History) -> float | None:
    """``median_output_gap`` relative to the distance between real images."""
    return relative_to_real_distance(history, median_output_gap(history))


def relative_loss(history: History) -> float | None:
    """``median_loss`` relative to the distance between real images."""
    return relative_to_real_distance(history, median_loss(history))


def median_magnitude(series: Iterable[float], num: int) -> float | None:
    """The median absolute value of the finite ones among the last ``num`` values."""
    finite = [abs(value) for value in list(series)[-num:] if math.isfinite(value)]
    return median(finite) if finite else None


def relative_to_real_distance(history: History, value: float | None) -> float | None:
    """A value divided by the mean distance between two real images."""
    distance = history.measurements[-1].real_distance
    return value / distance if distance and value is not None else None


# ---- mode collapse


def spreads(history: History) -> list[tuple[float, float]] | None:
    """(diversity, contrast) of the last ``patience`` measurements; None unless all have finite ones."""
    pairs = [(measurement.diversity, measurement.contrast) for measurement in history.measurements]
    finite = [(diversity, contrast) for diversity, contrast in pairs if is_finite(diversity) and is_finite(contrast)]
    return finite if len(finite) == history.patience else None


def is_finite(value: float | None) -> TypeGuard[float]:
    """Whether a value was measured and is finite."""
    return value is not None and math.isfinite(value)


def max_diversity(history: History) -> float | None:
    """The largest diversity of fixed-noise samples, over the last ``patience`` measurements."""
    pairs = spreads(history)
    return max(diversity for diversity, _ in pairs) if pairs else None


def max_diversity_by_contrast(history: History) -> float | None:
    """The largest ratio of diversity to contrast, over the last ``patience`` measurements."""
    pairs = spreads(history)
    return max(d / contrast if contrast else math.inf for d, contrast in pairs) if pairs else None


def min_contrast(history: History) -> float | None:
    """The smallest contrast of fixed-noise samples, over the last ``patience`` measurements."""
    pairs = spreads(history)
    return min(contrast for _, contrast in pairs) if pairs else None


def mean_diversity(history: History) -> float:
    """The mean diversity of fixed-noise samples, over the last ``patience`` measurements."""
    return fmean(measurement.diversity or 0.0 for measurement in history.measurements)


def max_class_share(history: History) -> float | None:
    """The larger share of covered classes in the last two counts; None before ``MODE_COVERAGE`` was reached."""
    if not history.baselines.classes_found or len(history.class_shares) < 2:
        return None
    return max(history.class_shares)


# ---- the balance of the players


def usable_chance(history: History) -> float | None:
    """The discriminator's loss at chance; None for a loss that is unbounded (Wasserstein's) or was not observed."""
    return history.baselines.chance if history.baselines.bounded and history.baselines.chance else None


def loss_swings(history: History) -> float | None:
    """The number of swings of the discriminator's loss in the last ``LOSS_WINDOW`` batches.

    A swing is a change from below ``LOW_LOSS`` to above ``HIGH_LOSS`` of the loss at chance, or the reverse, after a
    moving average over three batches.
    """
    chance = usable_chance(history)
    if chance is None or len(history.losses) < PERSISTENCE:
        return None
    return count_swings(moving_average(history.losses), HIGH_LOSS * chance, LOW_LOSS * chance)


def loss_below_chance(history: History) -> float | None:
    """The 80th percentile of the discriminator's loss in the last ``PERSISTENCE`` batches, relative to chance.

    A percentile and not the maximum: the discriminator may err in single batches.
    """
    chance, newest = usable_chance(history), list(history.losses)[-PERSISTENCE:]
    if chance is None or len(newest) < PERSISTENCE:
        return None
    return quantiles(newest, n=5)[-1] / chance


def signed_output_gap(history: History) -> float | None:
    """The median of D(real) - D(fake) over the last ``PERSISTENCE`` batches; None where the outputs are not logged."""
    gaps = list(history.output_gaps)[-PERSISTENCE:]
    return median(gaps) if gaps else None


def certainty_margin(history: History) -> float | None:
    """``signed_output_gap`` for a hinge loss; otherwise infinite if that gap is positive or not logged, else None.

    A loss of exactly 0 is a hinge loss whose margin of 1 on either side is kept, which alone is no certainty.
    """
    gap, newest = signed_output_gap(history), list(history.losses)[-PERSISTENCE:]
    if gap is None:
        return math.inf
    is_hinge = bool(newest) and min(newest) == 0
    return gap if is_hinge else math.inf if gap > 0 else None


def relative_gradient(history: History) -> float | None:
    """The largest norm of the generator's gradient in the last ``patience`` measurements, relative to early ones."""
    early = history.baselines.gradients
    norms = [each.generator_gradient for each in history.measurements if each.generator_gradient is not None]
    if len(early) < EARLY_MEASUREMENTS or len(norms) < history.patience:
        return None
    return max(norms) / median(early)


def moving_average(series: Iterable[float], width: int = 3) -> list[float]:
    """Means over ``width`` consecutive values."""
    values = list(series)
    return [fmean(values[i : i + width]) for i in range(len(values) - width + 1)]


def count_swings(series: Iterable[float], high: float, low: float) -> int:
    """Count the transitions of a series into the region above ``high`` or below ``low``.

    A return to the same region after values in between does not count.

    Args:
        series: the values, in order.
        high: lower bound of the upper region.
        low: upper bound of the lower region.

    Returns:
        The number of transitions, the first entry into either region included.
    """
    num_swings, region = 0, 0
    for value in series:
        new = 1 if value > high else -1 if value < low else region
        num_swings += new != region
        region = new
    return num_swings
