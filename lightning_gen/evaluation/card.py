"""The score card: every number with everything that it depends on, as JSON and as a table."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from rich.markup import escape
from rich.table import Table

from lightning_gen.cache import atomic
from lightning_gen.types import ImageShape

Subject = Literal["samples", "reconstructions", "folder", "likelihood"]
METRIC_OF = {"precision": "prc", "recall": "prc", "f_score": "prc", "modes_kl": "modes", "bits_per_dim": "nll"}
"""The metric that gives a score, where it is called otherwise."""
PACKAGES = ("lightning_gen", "torch", "torchvision", "torch-fidelity", "pytorch-lightning", "numpy")


def protocol_name(metric: str, num: int, split: str, extractor: str = "inception", subject: Subject = "samples") -> str:
    """Name what was measured, so that two numbers of one name can be compared.

    ``fid10k_train`` is the FID of 10,000 generated images against the training split by Inception's features;
    ``fid1437_train@classifier`` says which other extractor; ``rfid360_test`` is of reconstructions.

    Args:
        metric: e.g. ``fid``.
        num: number of images scored.
        split: the reference's split or name.
        extractor: whose features.
        subject: what was scored.

    Returns:
        The protocol's name.
    """
    count = f"{num // 1000}k" if num and num % 1000 == 0 else str(num)
    prefix = "r" if subject == "reconstructions" else ""
    return f"{prefix}{metric}{count}_{split}" + ("" if extractor == "inception" else f"@{extractor}")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that scores depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


@dataclass(frozen=True)
class ScoreCard:
    """Scores and the facts that they depend on.

    Attributes:
        scores: value by name: ``fid``, ``isc``, ``isc_std``, ``kid``, ``kid_std``, ``precision``, ``recall``,
            ``modes``, ``modes_kl``, ``elbo``, ``elbo_sem`` (standard error of the mean), ``nll``, ``bits_per_dim`` ...
        metrics: what was asked for, out of ``fid``, ``isc``, ``kid``, ``prc``, ``modes``, ``elbo``, ``nll``.
        protocol: name of the protocol by metric, e.g. ``fid10k_train``.
        subject: whether samples, reconstructions, a folder's images or the likelihood of the reference were scored.
        generated: name of the set scored, or the model's class.
        num_generated: how many images were scored.
        reference: name of the set that they were scored against.
        reference_key: hash of its content.
        num_reference: how many images it has.
        split: its split.
        image_shape: (channels, height, width) of the images scored.
        precision: numbers that the model and the extractor computed with.
        extractor: whose features were compared; None where none were.
        weights_hash: hash of the extractor's weights.
        extractor_accuracy: the extractor's accuracy on test images, where known.
        resizer: how images were resized before the extractor.
        importance_samples: drawn for each image's likelihood; None where none was estimated.
        num_modes: how many modes there are to be found; None where they were not counted.
        seed: of the samples.
        labels: how classes were chosen for a conditional model; None where there are none.
        drawn: how images were drawn step by step: the sampler, its steps and options; None where they were not.
        weights: whether the averaged or the raw weights were used; None where there is no model.
        notes: what else a reader should know.
        flags: metric -> why its number is weak.
        images_seen: how many training images the model had seen.
        checkpoint: file that the model came from.
        checkpoint_hash: SHA-256 of that file.
        versions: of the packages.
        date: when, in UTC.
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
    image_shape: ImageShape
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
    notes: tuple[str, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    images_seen: int | None = None
    checkpoint: str | None = None
    checkpoint_hash: str | None = None
    versions: Mapping[str, str] = field(default_factory=package_versions)
    date: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))

    def joined(self, other: "ScoreCard") -> "ScoreCard":
        """This card with another's scores of the same model on the same images; its own facts stand first.

        Args:
            other: the other card.

        Returns:
            The whole.
        """
        return replace(
            self,
            scores={**self.scores, **other.scores},
            metrics=self.metrics + other.metrics,
            protocol={**self.protocol, **other.protocol},
            importance_samples=self.importance_samples or other.importance_samples,
            seed=other.seed if self.seed is None else self.seed,
            notes=self.notes + other.notes,
            flags={**self.flags, **other.flags},
        )

    def to_json(self) -> str:
        """The card as JSON: ``scores`` and, beside it, the other fields."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"

    def save(self, path: Path) -> None:
        """Write the card's JSON; a killed write leaves the old file whole.

        Args:
            path: the file; its folder is made.
        """
        with atomic(path) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    def table(self) -> Table:
        """The scores as a table that names the extractor, the protocol and every weakness."""
        accuracy = "" if self.extractor_accuracy is None else f" (test accuracy {self.extractor_accuracy:.2%})"
        title = "Likelihood" if self.extractor is None else f"Scores by {self.extractor}'s features{accuracy}"
        subject = "images" if self.subject == "folder" else self.subject
        facts = [
            f"{self.num_generated:,} {subject} of {self.generated} against {self.num_reference:,} of {self.reference}"
        ]
        if self.subject == "likelihood":
            facts = [f"{self.num_generated:,} images of {self.reference} under {self.generated}"]
        facts += [f"drawn by {self.drawn}"] * (self.drawn is not None)
        facts += [f"weights: {self.weights}"] * (self.weights is not None)
        facts += [f"resizer: {self.resizer}"] * (self.resizer is not None)
        facts += self.notes
        table = Table(title=escape(title), caption=escape("; ".join(facts)))
        table.add_column("metric")
        table.add_column("value", justify="right")
        table.add_column("protocol", overflow="fold")
        if self.flags:
            table.add_column("weak", style="yellow")
        for name, value in self.scores.items():
            if name.endswith(("_std", "_sem")):
                continue
            spread = self.scores.get(f"{name}_std", self.scores.get(f"{name}_sem"))
            text = f"{value:.5g}" + ("" if spread is None else f" ± {spread:.2g}")
            if name == "modes" and self.num_modes is not None:
                text = f"{value:,.0f} of {self.num_modes:,}"
            metric = METRIC_OF.get(name, name)
            row = [name, text, self.protocol.get(metric, "")]
            table.add_row(*map(escape, row + [self.flags.get(metric, "")] * bool(self.flags)))
        return table
