"""Comparing extracted features with those of real images, and the score card of the result."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from lightning_gen.distributed import ScoringGroup
from lightning_gen.evaluation.band import Band, RealImages, compare_with_bands, has_band, reference_bands
from lightning_gen.evaluation.card import ScoreCard, Subject, protocol_name
from lightning_gen.evaluation.copies import CopyReference
from lightning_gen.evaluation.distance import ImageDistance
from lightning_gen.evaluation.extraction import Extracted, compare_copies, extract_copy_features, extract_reference
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.evaluation.facts import split_name
from lightning_gen.evaluation.metric_record import FeatureInputs, Reference
from lightning_gen.evaluation.metrics import METRICS, PAIR_METRICS, PAIR_NEEDS, compute_scores, find_weaknesses
from lightning_gen.types import ImageSet


class BandOptions(NamedTuple):
    """How the reference band is computed; see :func:`lightning_gen.evaluation.scoring.score_samples`.

    Attributes:
        by_class: whether real images are drawn with the classes of the reference.
        draws: bootstrap draws; 0 for no band; None: the metric's default.
    """

    by_class: bool = False
    draws: int | None = None


NO_BAND = BandOptions(draws=0)


class Comparison(NamedTuple):
    """The real images that images are scored against, and how.

    Attributes:
        reference: the real images.
        extractor: the extractor; None where no metric needs features.
        metrics: the requested metrics.
        batch_size: the number of real images per batch.
        split: name of the reference's split; None: the last part of the reference's name.
        copies: training and held-out images, for ``copies`` and for the band.
        band: how the reference band is computed.
        distance: the distance of images of path lengths; None where no generator is scored.
    """

    reference: ImageSet
    extractor: Extractor | None
    metrics: Sequence[str]
    batch_size: int
    split: str | None = None
    copies: CopyReference | None = None
    band: BandOptions = NO_BAND
    distance: ImageDistance | None = None

    @property
    def feature_metrics(self) -> list[str]:
        """The requested metrics that compare features."""
        return [name for name in self.metrics if name not in PAIR_METRICS]


def make_card(
    generated: Extracted | None,
    real: Comparison,
    group: ScoringGroup,
    facts: Mapping[str, Any],
    notes: Sequence[str] = (),
    baselines: Mapping[str, Extracted | None] | None = None,
) -> ScoreCard:
    """Compute scores from extracted features on rank 0 and give the card to every rank.

    Args:
        generated: features of the images to score; None on all ranks but the first.
        real: the real images, and how the images are compared with them.
        group: the processes that score together.
        facts: further fields of the card.
        notes: notes of the card.
        baselines: features of images that no model made, by the name of the baseline.

    Returns:
        The score card.
    """
    reference, extractor, metrics = real.reference, real.extractor, real.feature_metrics
    with_band = extractor is not None and real.band.draws != 0 and any(map(has_band, metrics))
    copy_features, features, held_out_features = None, None, None
    held_out = held_out_of(reference, real.copies) if with_band else None
    if extractor is not None:
        copy_features = extract_copy_features(real.copies, extractor, metrics, real.batch_size, group)
        features = extract_reference(reference, extractor, metrics, real.batch_size, group, with_vectors=with_band)
        if held_out is not None:
            held_out_features = extract_reference(held_out, extractor, (), real.batch_size, group, with_vectors=True)

    def make() -> ScoreCard:
        assert generated is not None
        known = Reference(torch.empty(0, 0), {}) if features is None else features
        num, subject, split = facts["num_generated"], facts["subject"], real.split or split_name(reference)
        copies = compare_copies(generated, real.copies, copy_features)
        inputs = FeatureInputs(extractor, generated.features, known, num, len(reference), generated.per_image, copies)
        scores = compute_scores([*metrics, *generated.per_image], inputs)
        bands: dict[str, Band] = {}
        if with_band and extractor is not None:
            vectors = torch.empty(0, extractor.width) if held_out_features is None else held_out_features.vectors
            images = RealImages(reference, known, held_out, vectors, real.band.by_class)
            bands = reference_bands(metrics, extractor, images, num, real.band.draws)
        flags = find_weaknesses(metrics, inputs)
        protocol = protocols(real, generated, num, split, subject)
        remarks = [*notes, *generator_notes(real)]
        if extractor is not None and generated.image_shape is not None:
            remarks += extractor.notes(generated.image_shape[0])
        if copies is not None and real.copies is not None:
            training, beside = real.copies
            protocol["copies"] = protocol_name("copies", num, split_name(training), inputs.network.name, subject)
            remarks.append(
                f"copies of {len(training):,} training images of {training.name}, compared with {len(beside):,} "
                f"held-out images of {beside.name}"
            )
        broken = num - int(generated.per_image["finite"].sum()) if "finite" in generated.per_image else 0
        if broken:
            warning = f"{broken:,} images had values that are not finite, replaced by grey"
            flags |= dict.fromkeys(protocol, warning)
        if generated.image_shape is not None:
            real_shape = tuple(reference[:1].shape[1:])
            if real_shape != generated.image_shape:
                remarks.append("generated {}x{}x{}, reference {}x{}x{}".format(*generated.image_shape, *real_shape))
        by_baseline = {
            name: compute_scores(
                [*metrics, *images.per_image], replace(inputs, features=images.features, per_image=images.per_image)
            )
            for name, images in (baselines or {}).items()
            if images is not None
        }
        return ScoreCard(
            scores=scores,
            metrics=tuple(real.metrics),
            protocol=protocol,
            reference=reference.name,
            reference_key=reference.key,
            num_reference=len(reference),
            split=split,
            extractor=None if extractor is None else extractor.name,
            weights_hash=None if extractor is None else extractor.weights_hash,
            extractor_accuracy=None if extractor is None else extractor.accuracy,
            resizer=None if extractor is None else extractor.resizer,
            image_shape=generated.image_shape,
            num_modes=extractor.classes if extractor is not None and "modes" in metrics else None,
            baselines=by_baseline,
            notes=tuple(remarks),
            flags=flags,
            bands=bands,
            comparisons=compare_with_bands(scores, bands, num, len(reference)),
            **facts,
        )

    return group.on_first_rank(make)


def protocols(real: Comparison, generated: Extracted, num: int, split: str, subject: Subject) -> dict[str, str]:
    """Names of the protocols: of the requested metrics by metric, of the scores of pairs by score."""
    extractor = None if real.extractor is None else real.extractor.name
    names = {
        name: generator_protocol(name, num, real.distance)
        if "generator" in METRICS[name].needs
        else protocol_name(name, num, split, extractor, subject)
        for name in real.feature_metrics
    }
    for metric in (METRICS[name] for name in METRICS if name in generated.per_image):
        if metric.needs & PAIR_NEEDS:
            method = extractor if "class_logits" in metric.needs else None
            scores = [score for score, direction in metric.scores.items() if direction is not None]
            names |= {score: protocol_name(score, num, split, method, subject) for score in scores}
    return names


def generator_protocol(metric: str, num: int, distance: ImageDistance | None) -> str:
    """The name of a protocol that compares a generator with no reference, e.g. ``ppl_wend10k@classifier``."""
    needs_distance = distance is not None and "distance" in METRICS[metric].needs
    return protocol_name(metric, num, None, distance.name if distance is not None and needs_distance else None)


def generator_notes(real: Comparison) -> list[str]:
    """Notes of the requested metrics of a generator, without repetition."""
    if real.distance is None:
        return []
    probes = [METRICS[name].probe for name in real.metrics]
    return [*dict.fromkeys(probe.note(real.distance) for probe in probes if probe is not None)]


def held_out_of(reference: ImageSet, images: CopyReference | None) -> ImageSet | None:
    """The held-out images, if the reference is the training set; None otherwise."""
    if images is None or images.training.key != reference.key or images.held_out.key == reference.key:
        return None
    return images.held_out


def make_copy_reference(
    reference: ImageSet, training: ImageSet | None, held_out: ImageSet | None
) -> CopyReference | None:
    """Training and held-out images; the reference if ``training`` is None, and None without held-out images."""
    return None if held_out is None else CopyReference(reference if training is None else training, held_out)
