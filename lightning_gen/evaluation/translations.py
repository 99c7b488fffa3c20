"""Scores a model's translations of the inputs of a split against the targets of that split.

Feature metrics compare the set of translations with the set of targets. Where input i is the partner of target i, each
translation is also compared with its target. Super-resolution is translation to images ``scale`` times as large.

Beside the model's scores, the card has those of a baseline, images that no model made: for super-resolution the inputs
enlarged by bicubic interpolation, otherwise the inputs themselves. A translation that does not score better than these
has learned nothing; for unpaired data, the copied inputs are the translations of the identity.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lightning_gen.distributed import scoring_group
from lightning_gen.errors import InputError
from lightning_gen.evaluation.card import ScoreCard, Subject
from lightning_gen.evaluation.comparison import Comparison, make_card
from lightning_gen.evaluation.extraction import ScoredBatch, compare_pairs, extract, own_labels, pair_metrics, to_stored
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.evaluation.facts import describe_sampling, model_facts
from lightning_gen.evaluation.lpips import Lpips
from lightning_gen.evaluation.metric_checks import check_metrics
from lightning_gen.evaluation.pairs import (
    PairScores,
    check_pair_metrics,
    differ_in_size,
    labels_at,
    smallest_side,
    take,
)
from lightning_gen.images import to_float, to_grey
from lightning_gen.inference import isolated_inference, model_device
from lightning_gen.noise import image_generators, mix_seed
from lightning_gen.resize import bicubic_downscale, bicubic_upscale
from lightning_gen.types import (
    Images,
    ImageSet,
    PairSet,
    SamplingOptions,
    StoredImages,
    Translator,
    TwoWayTranslator,
)

Translations = UInt8[Tensor, "batch target_channels target_height target_width"]


def score_translations(
    model: Translator,
    pairs: PairSet,
    extractor: Extractor | None,
    *,
    metrics: Sequence[str] = ("fid",),
    num_samples: int | None = None,
    batch_size: int = 100,
    seed: int = 0,
    split: str | None = None,
    weights: Literal["ema", "raw"] | None = None,
    back: bool = False,
    with_baseline: bool = True,
    lpips: Lpips | None = None,
    input_kind: str | None = None,
) -> ScoreCard:
    """Translate the inputs of a split and score the translations.

    Scores that are not requested but follow from the data, each a mean over the images with its standard error:

    * ``psnr`` in dB and ``ssim`` of paired images. PSNR is the mean of the images' PSNR.
    * ``psnr_y`` and ``ssim_y`` of paired images at a scale above 1: of studio luma, without ``scale`` pixels at the
      border, see :mod:`lightning_gen.losses.image_quality`.
    * ``consistency`` at a scale above 1: the mean squared error, of pixels in [0, 1], of the translation reduced by
      bicubic interpolation and the input (SR3, https://arxiv.org/abs/2104.07636).
    * ``label_kept``, with an extractor that knows the dataset's classes and inputs with labels: the share of
      translations to which it assigns the class of the input.

    Translation i depends on the i-th input and (seed, i) alone. Where the model uses no noise, the card's ``seed`` is
    None. Images of unequal size are translated one at a time, and have no feature metrics.

    Args:
        model: the model.
        pairs: inputs and targets.
        extractor: the extractor whose features are compared; None where no feature metric is requested.
        metrics: names out of ``FEATURE_METRICS`` and, for paired images, ``PAIR_METRICS``; may be empty.
        num_samples: the number of inputs to translate, from the first on; default: all.
        batch_size: the number of images translated at once.
        seed: seed of the noise.
        split: the split in the protocol's name; default: the last part of the targets' name.
        weights: whether the model uses averaged or raw weights, for the card; default: determined from the model.
        back: translate the targets to the inputs' domain, and compare with the inputs.
        with_baseline: whether the baseline is scored.
        lpips: the network of the metric ``lpips``.
        input_kind: how the inputs were made, e.g. ``bicubic``, for the card.

    Returns:
        The score card, on every rank.

    Raises:
        InputError: when a metric is unknown or undefined for these images, the model translates in one direction alone,
            or its translations and their targets differ in size.
    """
    inputs, targets = (pairs.images, pairs.inputs) if back else (pairs.inputs, pairs.images)
    translate = translation_function(model, back)
    is_unequal = differ_in_size(pairs)
    extractor = None if is_unequal else extractor
    num = len(inputs) if num_samples is None else min(num_samples, len(inputs))
    if pairs.paired:
        check_pair_metrics(metrics, extractor, num, len(targets), lpips)
    elif metrics:
        check_metrics(metrics, extractor, num, len(targets))
    scale, channels = scale_of(inputs, targets), targets[:1].shape[1]
    scores = PairScores(smallest_side(targets), scale if scale > 1 else None, lpips if "lpips" in metrics else None)
    reduced = pair_metrics("reduced", smallest_side(inputs)) if scale > 1 else []
    if not can_convert(channels, inputs[:1].shape[1]):
        reduced, with_baseline = [], False
    labels = targets.labels if inputs.labels is None and pairs.paired else inputs.labels
    if not (metrics or pairs.paired or reduced or extractor):
        raise InputError(f"nothing is scored: {targets.name} is not paired with the inputs, and no metric is requested")
    device = model_device(model)

    def compare(indices: range, given: StoredImages, images: Translations) -> ScoredBatch:
        values: dict[str, Tensor] = {}
        if pairs.paired:
            values |= scores(images.cpu(), take(targets, indices))
        if reduced:
            values |= compare_pairs(reduced, *reduce_to(given, images.cpu(), scale))
        classes = labels_at(labels, indices)
        return ScoredBatch(images, values, {} if classes is None else own_labels(extractor, classes, "input_labels"))

    def load(indices: range) -> ScoredBatch:
        given, generators = take(inputs, indices), image_generators(seed, indices)
        unused = [generator.get_state() for generator in generators]
        images, finite = to_stored(translate(to_float(given.to(device)), generators))
        states = zip(generators, unused, strict=True)
        random = torch.tensor([not torch.equal(generator.get_state(), state) for generator, state in states])
        batch = compare(indices, given, images)
        return batch._replace(per_image={"finite": finite, "random": random, **batch.per_image})

    def load_baseline(indices: range) -> ScoredBatch:
        given = take(inputs, indices)
        return compare(indices, given, to_stored(baseline_images(to_float(given), scale, channels))[0])

    subject: Subject = "translations back" if back else "translations"
    sampling = getattr(model, "sampling", None)
    kind = ([input_kind] if input_kind else []) + [f"scale {scale}"] * (scale > 1)
    partners = "each with its target" if pairs.paired else "not paired with the targets"
    facts = model_facts(model, weights) | {
        "subject": subject,
        "num_generated": num,
        "drawn": describe_sampling(sampling) if isinstance(sampling, SamplingOptions) else None,
        "inputs": ", ".join([f"{num:,} of {len(inputs):,} of {inputs.name}", *kind, partners]),
    }
    real = Comparison(targets, extractor, metrics, batch_size, split)
    step = 1 if is_unequal else batch_size
    with scoring_group() as group:
        with isolated_inference(model, mix_seed(seed, "score", group.rank)):
            generated = extract(load, num, extractor, step, group, metrics)
        name = "bicubic" if scale > 1 else "copy"
        baselines = {}
        if with_baseline:
            baselines[name] = extract(load_baseline, num, extractor, step, group, metrics)

        def is_random() -> bool:
            assert generated is not None
            return bool(generated.per_image["random"].any())

        facts["seed"] = seed if group.on_first_rank(is_random) else None
        return make_card(generated, real, group, facts, scores.notes() if pairs.paired else [], baselines)


def translation_function(model: Translator, back: bool) -> Callable[[Images, Sequence[torch.Generator]], Images]:
    """The model's translation in one direction; ``back`` raises an :class:`InputError` for a model without it."""
    if not back:
        return lambda images, generators: model.translate(images, generator=generators)
    if not isinstance(model, TwoWayTranslator):
        raise InputError(f"{type(model).__name__} translates in one direction alone; leave out back")
    both: TwoWayTranslator = model
    return lambda images, generators: both.translate_back(images, generator=generators)


def scale_of(inputs: ImageSet, targets: ImageSet) -> int:
    """How many times the targets are as high as the inputs, at least 1."""
    return max(1, targets[:1].shape[2] // inputs[:1].shape[2])


def can_convert(channels: int, target_channels: int) -> bool:
    """Whether :func:`convert_channels` is defined: both are images, grey or RGB, or have as many channels."""
    return channels == target_channels or {channels, target_channels} == {1, 3}


def convert_channels(images: Images, channels: int) -> Float[Tensor, "batch target_channels height width"]:
    """Repeat a grey image in three channels, or compute the luma (full range) of an RGB image, if channels differ."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    return to_grey(images)


def baseline_images(
    inputs: Images, scale: int, channels: int
) -> Float[Tensor, "batch target_channels target_height target_width"]:
    """The inputs enlarged by bicubic interpolation, or themselves at scale 1, with this number of channels."""
    return convert_channels(bicubic_upscale(inputs, scale) if scale > 1 else inputs, channels)


def reduce_to(inputs: StoredImages, images: Translations, scale: int) -> tuple[Images, Images]:
    """Images reduced by bicubic interpolation, and the inputs, with the channels of the inputs, in float64."""
    small = bicubic_downscale(to_float(images).double(), scale)
    return convert_channels(small, inputs.shape[1]), to_float(inputs).double()
