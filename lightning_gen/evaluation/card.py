"""The score card: scores and the settings that they depend on, as JSON and as a table."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

from rich.markup import escape
from rich.table import Table

from lightning_gen.cache import atomic
from lightning_gen.evaluation.band import Band, compare_with_bands
from lightning_gen.evaluation.copies import SIGNIFICANCE
from lightning_gen.evaluation.metrics import MEMORISED, METRIC_OF_SCORE
from lightning_gen.types import ImageShape

Subject = Literal["samples", "reconstructions", "translations", "translations back", "folder", "likelihood"]
PREFIXES: Mapping[Subject, str] = {"reconstructions": "r", "translations": "t", "translations back": "b"}
"""First letter of a protocol's name, by what was scored."""
P_VALUES = ("copies_p",)
PACKAGES = ("lightning_gen", "torch", "torchvision", "torch-fidelity", "pytorch-lightning", "numpy")


def protocol_name(
    metric: str, num: int, split: str | None, extractor: str | None = "inception", subject: Subject = "samples"
) -> str:
    """The name of a protocol; scores with equal names, against the same reference, can be compared.

    ``fid10k_train`` is the FID of 10,000 generated images against the train split with Inception's features,
    ``fid1437_train@classifier`` an FID with another extractor, ``rfid360_test`` an FID of reconstructions,
    ``tpsnr360_test`` the PSNR of translations and ``bfid360_test`` an FID of translations back to the first domain.

    Args:
        metric: e.g. ``fid``.
        num: the number of images scored.
        split: the reference's split or name; None for a metric without a reference.
        extractor: name of the extractor, or the method of a likelihood; None for a score of pixels.
        subject: what was scored.

    Returns:
        The name.
    """
    count = f"{num // 1000}k" if num and num % 1000 == 0 else str(num)
    method = "" if extractor in (None, "inception") else f"@{extractor}"
    reference = "" if split is None else f"_{split}"
    return f"{PREFIXES.get(subject, '')}{metric}{count}{reference}{method}"


def join_flags(flags: Sequence[str]) -> str:
    """Different flags in one line."""
    return "; ".join(dict.fromkeys(filter(None, flags)))


def is_spread(name: str) -> bool:
    """Whether a score is the spread of another."""
    return name.endswith(("_std", "_sem"))


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect scores."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


@dataclass(frozen=True)
class ScoreCard:
    """Scores and the settings that they depend on.

    Attributes:
        scores: mean over the draws, by key: ``fid``, ``isc``, ``isc_std``, ``kid``, ``precision``, ``elbo``,
            ``elbo_sem`` (standard error of the mean) ..., see ``METRICS``.
        metrics: the requested metrics.
        protocol: name of the protocol by metric, or by score for scores of pairs, e.g. ``fid10k_train``.
        subject: whether samples, reconstructions, translations, a folder's images or the likelihood of the reference
            were scored.
        generated: name of the scored set, or the model's class.
        num_generated: the number of scored images.
        reference: name of the reference set.
        reference_key: hash of its content.
        num_reference: the number of its images.
        split: its split.
        image_shape: (channels, height, width) of the scored images; None if they differ in size.
        precision: numerical precision of the model or the extractor.
        extractor: name of the extractor; None for a likelihood, and where only pixels were compared.
        weights_hash: hash of the extractor's weights.
        resizer: how images were resized before the extractor.
        extractor_accuracy: the extractor's accuracy on test images; None where unknown.
        importance_samples: latents or other random draws per image of a likelihood; None where no likelihood was
            estimated, or the model's default was used.
        num_modes: the number of classes that ``modes`` counts; None where it was not computed.
        seed: seed of the samples.
        labels: how the classes of a class-conditional model were chosen; None for unconditional models.
        drawn: sampler, steps and options of a model that samples iteratively.
        weights: whether averaged or raw weights were used; None where no model was scored.
        truncation: psi of the truncation of styles; None for a model without styles.
        truncated_layers: the number of layers whose styles are truncated; None: all, or a model without styles.
        draws: the scores of each draw, whose sample seeds are ``seed``, ``seed`` + 1 ...; empty for a single draw.
        spread: standard deviation of each score over the draws; empty for a single draw.
        baselines: scores of images that no model made, under the same protocol, by the baseline's name: ``copy`` are
            the inputs themselves, ``bicubic`` the inputs enlarged.
        bands: what resampled reference images and held-out images score under the same protocol, by score.
        selection: how the checkpoint was chosen; None where it is unknown.
        notes: further remarks.
        flags: metric -> why its scores are weak.
        comparisons: metric -> a statement where its score is not distinguishable from that of real images, or is
            largely bias.
        inputs: the images that were translated: name, number, kind and scale; None where none were.
        loss_weights: weights of the model's loss terms, such as ``cycle_weight``.
        images_seen: the number of training images that the model had seen.
        checkpoint: the model's checkpoint.
        checkpoint_hash: SHA-256 of that file.
        versions: versions of Python and of packages.
        date: time of scoring, in UTC.
    """

    scores: dict[str, float]
    metrics: tuple[str, ...]
    protocol: dict[str, str]
    subject: Subject
    generated: str
    num_generated: int
    reference: str
    reference_key: str
    num_reference: int
    split: str
    image_shape: ImageShape | None
    precision: str
    extractor: str | None = None
    weights_hash: str | None = None
    resizer: str | None = None
    extractor_accuracy: float | None = None
    importance_samples: int | None = None
    num_modes: int | None = None
    seed: int | None = None
    labels: str | None = None
    drawn: str | None = None
    weights: Literal["ema", "raw"] | None = None
    truncation: float | None = None
    truncated_layers: int | None = None
    draws: tuple[Mapping[str, float], ...] = ()
    spread: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    bands: Mapping[str, Band] = field(default_factory=dict)
    selection: str | None = None
    notes: tuple[str, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    comparisons: Mapping[str, str] = field(default_factory=dict)
    inputs: str | None = None
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    images_seen: int | None = None
    checkpoint: str | None = None
    checkpoint_hash: str | None = None
    versions: Mapping[str, str] = field(default_factory=package_versions)
    date: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))

    def merge(self, other: "ScoreCard") -> "ScoreCard":
        """This card with the scores of another card of the same model and images; other fields are this card's."""
        return replace(
            self,
            scores={**self.scores, **other.scores},
            metrics=self.metrics + other.metrics,
            protocol={**self.protocol, **other.protocol},
            importance_samples=self.importance_samples or other.importance_samples,
            seed=other.seed if self.seed is None else self.seed,
            notes=self.notes + other.notes,
            flags={**self.flags, **other.flags},
            bands={**self.bands, **other.bands},
            comparisons={**self.comparisons, **other.comparisons},
        )

    @classmethod
    def mean_of(cls, cards: Sequence["ScoreCard"]) -> "ScoreCard":
        """The card of several draws: means, standard deviations (with K - 1), and each draw's scores.

        A p-value is the smallest of the K draws' times K (Bonferroni). The flag that training images are memorised
        stays if this p-value is significant.

        Args:
            cards: cards of one model under one protocol, which differ in the sample seed.

        Returns:
            The card of the first seed with the scores of all draws; for one card, the card itself.
        """
        if len(cards) == 1:
            return cards[0]
        first = cards[0]
        values = {name: [card.scores[name] for card in cards] for name in first.scores}
        scores = {name: fmean(drawn) for name, drawn in values.items()}
        scores |= {name: min(1.0, len(cards) * min(values[name])) for name in P_VALUES if name in values}
        flags = {
            name: join_flags([card.flags.get(name, "") for card in cards]) for card in cards for name in card.flags
        }
        if "copies" in flags and scores["copies_p"] >= SIGNIFICANCE:
            reasons = [reason for reason in flags["copies"].split("; ") if not reason.startswith(MEMORISED)]
            flags = {name: flag for name, flag in {**flags, "copies": join_flags(reasons)}.items() if flag}
        return replace(
            first,
            scores=scores,
            spread={name: stdev(drawn) for name, drawn in values.items() if name not in P_VALUES},
            draws=tuple(card.scores for card in cards),
            flags=flags,
            comparisons=compare_with_bands(scores, first.bands, first.num_generated, first.num_reference),
        )

    def protocol_of(self, metrics: Sequence[str] | None) -> str:
        """The name of the protocol of the first of these metrics; without any, that of the card's first score."""
        return self.protocol[metrics[0]] if metrics else next(iter(self.protocol.values()))

    def protocol_of_score(self, name: str) -> str:
        """The name of the protocol of a score; empty if the card has none."""
        return self.protocol.get(name, self.protocol.get(METRIC_OF_SCORE.get(name, name), ""))

    def spread_of(self, name: str) -> float | None:
        """The spread of a score: over the draws, otherwise over parts of the images; None where there is none."""
        return self.spread.get(name, self.scores.get(f"{name}_std", self.scores.get(f"{name}_sem")))

    def to_json(self) -> str:
        """The card's fields as JSON."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"

    def save(self, path: Path) -> None:
        """Write the card as JSON, atomically; the folder is created."""
        with atomic(path) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    def table(self) -> Table:
        """The scores as a table with protocols, and below it how they were measured and what makes them weak."""
        accuracy = "" if self.extractor_accuracy is None else f" (test accuracy {self.extractor_accuracy:.2%})"
        title = "Scores of pixels" if self.extractor is None else f"Scores by {self.extractor}'s features{accuracy}"
        subject = "images" if self.subject == "folder" else self.subject
        facts = [
            f"{self.num_generated:,} {subject} of {self.generated} against {self.num_reference:,} of {self.reference}"
        ]
        if self.subject == "likelihood":
            title = "Likelihood"
            facts = [f"{self.num_generated:,} images of {self.reference} under {self.generated}"]
        facts += [f"inputs: {self.inputs}"] * (self.inputs is not None)
        facts += [", ".join(f"{name} {value:g}" for name, value in self.loss_weights.items())] * bool(self.loss_weights)
        facts += [f"drawn by {self.drawn}"] * (self.drawn is not None)
        facts += [f"weights: {self.weights}"] * (self.weights is not None)
        if self.truncation not in (None, 1.0):
            layers = "" if self.truncated_layers is None else f" of the first {self.truncated_layers} layers"
            facts.append(f"truncation {self.truncation:g}{layers}")
        facts += [f"checkpoint: {self.selection}"] * (self.selection is not None)
        facts += [self._draws_in_words()] * (self.seed is not None)
        facts += [f"resizer: {self.resizer}"] * (self.resizer is not None)
        facts += self.notes
        weak = {
            name: join_flags([self.flags.get(name, ""), self.comparisons.get(name, "")])
            for name in {**self.flags, **self.comparisons}
        }
        warnings = [f"[yellow]{escape(f'{name}: {flag}')}[/yellow]" for name, flag in weak.items()]
        table = Table(title=escape(title), caption="\n".join([escape("; ".join(facts)), *warnings]))
        table.add_column("metric")
        table.add_column("value", justify="right", no_wrap=True)
        for baseline in self.baselines:
            table.add_column(baseline, justify="right")
        if self.bands:
            table.add_column("resampled reference", justify="right")
            table.add_column("held-out", justify="right")
        table.add_column("protocol", no_wrap=True)
        for name, value in self.scores.items():
            if is_spread(name):
                continue
            spread = self.spread_of(name)
            text = f"{value:.5g}" if spread is None else f"{value:.4g} ± {spread:.2g}"
            if name == "modes" and self.num_modes is not None:
                text = f"{value:,.0f} of {self.num_modes:,}" + ("" if spread is None else f" ± {spread:.2g}")
            baselines = [f"{scores[name]:.4g}" if name in scores else "" for scores in self.baselines.values()]
            row = [name, text, *baselines, *self._band_cells(name), self.protocol_of_score(name)]
            table.add_row(*map(escape, row))
        return table

    def _draws_in_words(self) -> str:
        """The sample seeds, in words."""
        if not self.draws:
            return f"one draw, seed {self.seed}"
        assert self.seed is not None
        last = self.seed + len(self.draws) - 1
        return f"mean ± standard deviation of {len(self.draws)} draws, seeds {self.seed} to {last}"

    def _band_cells(self, name: str) -> list[str]:
        """The cells of a score's band; none where no score has one."""
        if not self.bands:
            return []
        band = self.bands.get(name)
        if band is None:
            return ["", ""]
        held_out = "" if band.held_out is None else f"{band.held_out:.4g} ({band.held_out_images:,})"
        return [f"{band.mean:.3g} ± {band.std:.2g}", held_out]
