r"""The failures of two-player training, read from what a run measures of itself: plain numbers in, evidence out.

Objectives differ in scale and offset: a cross entropy's logits are log odds, least squares aims at 0 and 1, a
Wasserstein critic's outputs have neither zero nor unit. So each number is compared with one of the same run:

* the discriminator's loss with its value in the very first batch, where the discriminator knows nothing ("chance":
  2 log 2 for the cross entropy, 2 for the hinge loss). It is bounded by 0 for all objectives but Wasserstein's; once
  it has been negative, it is no such loss, and nothing is concluded from it;
* the gradient with the run's early gradients, weights with the weights of 200 batches before;
* outputs with the distance of real images: a critic that tells images apart by a hundred times what they differ by
  has left every Lipschitz bound that any objective could mean;
* the spread of samples with that of real images, and with the samples' own contrast: an untrained generator's samples
  are alike because they are grey, those of a collapsed one are alike though they are not.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, quantiles
from typing import Any, Literal, NamedTuple

Failure = Literal["nan", "divergence", "mode_collapse", "oscillation", "discriminator_too_strong"]
FAILURES: tuple[Failure, ...] = ("nan", "divergence", "mode_collapse", "oscillation", "discriminator_too_strong")
"""The more fundamental first: while one is on, those behind it are its consequences and are not looked for."""

GROWTH = 20.0
"""Divergence: a player's weights are so many times what they were within ``GROWTH_BATCHES``; 1.4 in healthy runs."""
GROWTH_BATCHES = 200
DISTANCES = 100.0
"""Divergence: outputs, or the loss, of so many times the distance between real images; 1 in healthy runs."""
ALIKE = 0.2
"""Mode collapse: samples differ by less than this share of what real images do; about 1 in healthy runs ..."""
ALIKE_BY_CONTRAST = 0.25
"""... and by less than this share of it for their own contrast, 0.4 or more in healthy runs at any time ..."""
CONTRAST = 0.25
"""... and have at least this share of real images' contrast."""
CLASSES_LOST = 0.5
"""Mode collapse: samples show less than this share of the classes, after they had shown ``CLASSES_FOUND``."""
CLASSES_FOUND = 0.75
SWINGS = 7
"""Oscillation: so many swings of the discriminator's loss in ``SERIES`` batches; healthy runs with large rates make up
to 5 in their first 300 batches, and hardly any later."""
HIGH, LOW = 2.0, 0.2
"""Between what shares of chance the loss must swing: plainly fooled, and sure."""
SURE = 1e-3
"""Discriminator too strong: its loss stays below this share of chance; 0.015 or more in healthy runs."""
SURE_GAP = 15.0
"""Where the loss is a hinge, its outputs must also lie so far apart, many times its margin."""
VANISHED = 1e-3
"""Vanishing gradient: the generator's stays below this share of its early norm; 0.05 or more in healthy runs."""
PERSISTENCE = 60
"""Batches for which a failure must be seen before it is one."""
SERIES = 100
"""Batches that are remembered one by one."""
EARLY_LOOKS = 5
RELIEF = 2.0
"""A failure that was reported has gone when its sign is weaker than the threshold by this factor, for as long."""


class Look(NamedTuple):
    """What one look at a run saw; None where it did not look, or where there is nothing to see.

    Attributes:
        batches_seen: training batches so far.
        terms: each loss term in each batch since the look before.
        generator_gradient: 2-norm of the generators' gradient.
        discriminator_gradient: 2-norm of the discriminators' gradient.
        generator_weights: 2-norm of the generators' weights.
        discriminator_weights: 2-norm of the discriminators' weights.
        diversity: mean distance of two samples, as a share of that of two real images.
        contrast: mean standard deviation of a sample's pixels, as a share of that of a real image's.
        distance: mean distance of two real images.
        classes: classes that the samples show, and that there are.
    """

    batches_seen: int
    terms: Mapping[str, Sequence[float]]
    generator_gradient: float | None = None
    discriminator_gradient: float | None = None
    generator_weights: float | None = None
    discriminator_weights: float | None = None
    diversity: float | None = None
    contrast: float | None = None
    distance: float | None = None
    classes: tuple[int, int] | None = None


class Finding(NamedTuple):
    """A change of what is wrong with a run.

    Attributes:
        failure: which one.
        evidence: what was seen, in words; None when the failure has gone.
    """

    failure: Failure
    evidence: str | None


@dataclass
class Levels:
    """What a run is measured by, learned at its beginning and worth keeping when it is resumed.

    Attributes:
        chance: the discriminator's loss in the first batch of all.
        bounded: whether that loss has never been negative.
        gradients: the generator's gradient at the first looks.
        classes_found: whether the samples have shown most of the classes.
    """

    chance: float | None = None
    bounded: bool = True
    gradients: list[float] = field(default_factory=list)
    classes_found: bool = False


class Diagnosis:
    """Remembers the newest looks of a run and says when a failure begins and ends: once each.

    Args:
        every_n_batches: batches between two looks.
        levels: those of a run that is taken up again.
    """

    def __init__(self, every_n_batches: int, levels: Mapping[str, Any] | None = None) -> None:
        self.every_n_batches = every_n_batches
        self.levels = Levels(**(levels or {}))
        self.forget()

    def forget(self) -> None:
        """Begin anew, as after a return to earlier weights; the levels of the run's beginning stay."""
        looks = max(2, math.ceil(PERSISTENCE / self.every_n_batches))
        self.looks: deque[Look] = deque(maxlen=looks)
        self.weights: deque[tuple[float | None, float | None]] = deque(
            maxlen=1 + math.ceil(GROWTH_BATCHES / self.every_n_batches)
        )
        self.losses: deque[float] = deque(maxlen=SERIES)
        self.gaps: deque[float] = deque(maxlen=SERIES)
        self.classes: deque[float] = deque(maxlen=2)
        self.active: Failure | None = None
        self.calm = 0

    def begin(self, generator_weights: float, discriminator_weights: float) -> None:
        """Note the weights' norms before the first batch: an exploding rate shows in the first step.

        Args:
            generator_weights: 2-norm of the generators' weights.
            discriminator_weights: 2-norm of the discriminators' weights.
        """
        self.weights.append((generator_weights, discriminator_weights))

    def add(self, look: Look) -> list[Finding]:
        """Take in a look.

        Args:
            look: what was seen.

        Returns:
            What has changed: a failure that has gone, one that has begun, or most often nothing.
        """
        self.remember(look)
        found = next(((name, words) for name in FAILURES if (words := self.judge(name)) is not None), None)
        if found is not None and (self.active is None or FAILURES.index(found[0]) < FAILURES.index(self.active)):
            gone = [] if self.active is None else [Finding(self.active, None)]
            self.active, self.calm = found[0], 0
            return [*gone, Finding(*found)]
        if self.active is None:
            return []
        self.calm = 0 if self.judge(self.active, RELIEF) is not None else self.calm + 1
        if self.calm < self.patience:
            return []
        gone = [Finding(self.active, None)]
        self.active, self.calm = None, 0
        return gone

    @property
    def patience(self) -> int:
        """Looks that a failure must last."""
        return self.looks.maxlen or 1

    def remember(self, look: Look) -> None:
        """Put a look's numbers where the judgements find them, and learn the levels from the first ones.

        Args:
            look: what was seen.
        """
        self.looks.append(look)
        self.weights.append((look.generator_weights, look.discriminator_weights))
        losses = look.terms.get("discriminator", ())
        if losses and self.levels.chance is None:
            first = look.batches_seen == len(losses)  # else the run was taken up without its levels
            self.levels.chance = losses[0] if first and math.isfinite(losses[0]) else 0.0
        self.levels.bounded = self.levels.bounded and all(loss >= 0 for loss in losses if math.isfinite(loss))
        self.losses.extend(losses)
        reals, fakes = look.terms.get("real_logit", ()), look.terms.get("fake_logit", ())
        self.gaps.extend(real - fake for real, fake in zip(reals, fakes, strict=False))
        gradient = look.generator_gradient
        early = look.batches_seen <= EARLY_LOOKS * self.every_n_batches
        if early and gradient and math.isfinite(gradient):
            self.levels.gradients.append(gradient)
        if look.classes is not None:
            share = look.classes[0] / max(1, look.classes[1])
            self.classes.append(share)
            self.levels.classes_found |= share >= CLASSES_FOUND

    def judge(self, failure: Failure, relief: float = 1.0) -> str | None:
        """Look for one failure.

        Args:
            failure: which.
            relief: by how much the thresholds are lowered.

        Returns:
            The evidence, or None.
        """
        if failure == "nan":
            return self.not_finite()
        if failure == "divergence":
            return self.divergence(relief)
        if failure == "mode_collapse":
            return self.collapse(relief) or self.lost_classes(relief)
        if failure == "oscillation":
            return self.oscillation(relief)
        return self.certainty(relief) or self.vanished_gradient(relief)

    def not_finite(self) -> str | None:
        """Anything that is not a number, or infinite."""
        look = self.looks[-1]
        for name, values in look.terms.items():
            if not all(map(math.isfinite, values)):
                return f"the loss term {name} is not finite"
        for name in ("generator_weights", "discriminator_weights", "generator_gradient", "discriminator_gradient"):
            value = getattr(look, name)
            if value is not None and not math.isfinite(value):
                player, what = name.split("_")
                return (
                    f"the {player}'s {what} are not finite"
                    if what == "weights"
                    else f"the {player}'s {what} is not finite"
                )
        return None

    def divergence(self, relief: float = 1.0) -> str | None:
        """Weights that multiply, or outputs beyond all proportion to the images."""
        for index, player in enumerate(("generator", "discriminator")):
            norms = [
                norm for pair in self.weights if (norm := pair[index]) is not None and math.isfinite(norm) and norm
            ]
            if norms and norms[-1] > GROWTH / relief * min(norms):
                batches = (len(norms) - 1 - norms.index(min(norms))) * self.every_n_batches
                return f"the {player}'s weights grew {norms[-1] / min(norms):,.0f}-fold in {batches} batches"
        distance = self.looks[-1].distance
        for name, series in (("outputs for real and generated images lie", self.gaps), ("loss is", self.losses)):
            newest = [abs(value) for value in list(series)[-self.every_n_batches :] if math.isfinite(value)]
            if distance and newest and median(newest) > DISTANCES / relief * distance:
                apart = " apart" if series is self.gaps else ""
                times = median(newest) / distance
                return (
                    f"the discriminator's {name} {median(newest):,.0f}{apart}, {times:,.0f} times what real images do"
                )
        return None

    def collapse(self, relief: float = 1.0) -> str | None:
        """Samples that are alike, though not grey."""
        for look in self.looks:
            if look.diversity is None or look.contrast is None:
                return None
            if look.contrast < CONTRAST / relief or look.diversity > ALIKE * relief:
                return None
            if look.diversity > ALIKE_BY_CONTRAST * relief * look.contrast:
                return None
        if len(self.looks) < self.patience:
            return None
        share = fmean(look.diversity or 0.0 for look in self.looks)
        return f"fixed-noise samples differ by {share:.2f} of what real images do (below {ALIKE})"

    def lost_classes(self, relief: float = 1.0) -> str | None:
        """Classes that the samples once showed and show no more."""
        if not self.levels.classes_found or len(self.classes) < 2 or not self.looks:
            return None
        if max(self.classes) >= min(CLASSES_FOUND, CLASSES_LOST * relief):
            return None
        return f"fixed-noise samples show {fmean(self.classes):.0%} of the classes (below {CLASSES_LOST:.0%})"

    def oscillation(self, relief: float = 1.0) -> str | None:
        """A discriminator that is by turns fooled and sure."""
        chance = self.levels.chance
        if not chance or not self.levels.bounded or len(self.losses) < PERSISTENCE:
            return None
        num = swings(smooth(self.losses), HIGH * chance, LOW * chance)
        if num < SWINGS / relief:
            return None
        return (
            f"in {len(self.losses)} batches the discriminator's loss swung {num} times between above {HIGH} and below "
            f"{LOW} of its value at chance"
        )

    def certainty(self, relief: float = 1.0) -> str | None:
        """A discriminator that has been sure of each image for long."""
        chance, newest = self.levels.chance, list(self.losses)[-PERSISTENCE:]
        if not chance or not self.levels.bounded or len(newest) < PERSISTENCE:
            return None
        share = (
            quantiles(newest, n=5)[-1] / chance
        )  # four batches of five: a discriminator may be surprised now and then
        gaps = list(self.gaps)[-PERSISTENCE:]
        # a loss of exactly 0 is a hinge loss whose margin of 1 on either side is kept: that alone is no certainty
        apart_by = SURE_GAP / relief if min(newest) == 0 else 0.0
        if not share < SURE * relief or (gaps and median(gaps) <= apart_by):
            return None
        apart = f", and its outputs for real and generated images lie {median(gaps):.3g} apart" if gaps else ""
        return f"for {PERSISTENCE} batches its loss has been {share:.1g} of its value at chance (below {SURE:g}){apart}"

    def vanished_gradient(self, relief: float = 1.0) -> str | None:
        """A generator that is told nothing any more."""
        early = self.levels.gradients
        newest = [look.generator_gradient for look in self.looks if look.generator_gradient is not None]
        if len(early) < EARLY_LOOKS or len(newest) < self.patience:
            return None
        share = max(newest) / median(early)
        if not share < VANISHED * relief:
            return None
        return f"the generator's gradient has vanished: {share:.1g} of its early norm (below {VANISHED:g})"


def smooth(series: Iterable[float], width: int = 3) -> list[float]:
    """Means over neighbours, so that one odd batch is no swing.

    Args:
        series: numbers.
        width: how many neighbours.

    Returns:
        The means.
    """
    values = list(series)
    return [fmean(values[i : i + width]) for i in range(len(values) - width + 1)]


def swings(series: Iterable[float], high: float, low: float) -> int:
    """Count how often a series comes to lie above ``high`` or below ``low``, after the other or for the first time.

    Args:
        series: numbers.
        high: upper bound.
        low: lower bound.

    Returns:
        The number of turns.
    """
    num, side = 0, 0
    for value in series:
        now = 1 if value > high else -1 if value < low else side
        num += now != side
        side = now
    return num
