"""Scores a checkpoint: its samples, translations, reconstructions and likelihoods."""

from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from lightning_gen.cli.checkpoint_data import dataset_of
from lightning_gen.cli.checks import check_likelihood
from lightning_gen.cli.generation import DEFAULT_SAMPLING, progress_bar, set_sampling
from lightning_gen.cli.scoring_options import ModelOptions, ScoringOptions
from lightning_gen.cli.truncating import set_truncation
from lightning_gen.data import ImageData, folder_pairs, folder_set
from lightning_gen.distributed import rank_and_world_size
from lightning_gen.errors import InputError
from lightning_gen.evaluation import (
    AUTO,
    LIKELIHOOD_METRICS,
    MAX_SAMPLES,
    ScoreCard,
    check_likelihood_metrics,
    differ_in_size,
    needs_of,
    score_likelihood,
    score_reconstructions,
    score_samples,
    score_translations,
)
from lightning_gen.evaluation.card import join_flags
from lightning_gen.hashing import file_hash
from lightning_gen.models.base import GenerativeModule
from lightning_gen.models.checkpoint import load_model, read_checkpoint
from lightning_gen.models.exported import WEIGHTS
from lightning_gen.types import (
    DensityModel,
    ImageGenerator,
    ImageSet,
    ImageShape,
    LikelihoodModel,
    PairSet,
    Reconstructor,
    Translator,
)


def score_checkpoint(
    checkpoint: Path, scoring: ScoringOptions, options: ModelOptions, *, show_progress: bool
) -> ScoreCard:
    """Score a checkpoint.

    Args:
        checkpoint: the file.
        scoring: options that apply to folders, too.
        options: options of the model.
        show_progress: whether this process shows a progress bar.

    Returns:
        The score card, on every process.

    Raises:
        InputError: when the checkpoint, its data or the model cannot be scored this way.
    """
    data = dataset_of(checkpoint, options.root)
    model = load_model(checkpoint).to(scoring.device)
    card = score_model(model, data, scoring, options, show_progress=show_progress)
    return with_checkpoint(card, checkpoint)


def score_model(
    model: GenerativeModule[Any],
    data: ImageData,
    scoring: ScoringOptions,
    options: ModelOptions,
    *,
    show_progress: bool,
) -> ScoreCard:
    """Score a model, whose options of sampling and choice of weights are changed to the requested ones.

    Args:
        model: the model, on the device of ``scoring``.
        data: the data that it was trained on.
        scoring: options that apply to folders, too.
        options: options of the model.
        show_progress: whether this process shows a progress bar.

    Returns:
        The score card, on every process.

    Raises:
        InputError: when the data or the model cannot be scored this way.
    """
    model.use_ema = not options.raw
    if options.sampling != DEFAULT_SAMPLING:
        set_sampling(model, options.sampling)
    set_truncation(model, options.truncation)
    likelihoods, metrics = scoring.likelihoods, scoring.image_metrics
    name = type(model).__name__
    from_noise = isinstance(model, ImageGenerator) and not options.reconstructions
    translates = isinstance(model, Translator) and not from_noise and not options.reconstructions
    if options.draws > 1 and not ((from_noise or translates) and metrics):
        raise InputError("--draws are draws of samples, and none are scored; leave it out")
    if options.back and not translates:
        raise InputError(f"--back is the other direction of a translator, and {name} is none; leave it out")
    if metrics and not (from_noise or translates or isinstance(model, Reconstructor)):
        lacks = "reconstructs no" if options.reconstructions else "neither generates nor reconstructs"
        raise InputError(f"{name} {lacks} images")
    cards: list[ScoreCard] = []
    if translates and isinstance(model, Translator):
        if likelihoods:
            raise InputError(f"{name} has no likelihood; leave out {likelihoods[0]}")
        kind, direction = data.inputs, data.direction
        if options.reference is None:
            pairs = data.pair_set(options.split or "test")
        else:
            pairs = read_pairs(options.reference, model.input_shape, model.image_shape, kind, direction)
        if pairs is None:
            raise InputError(f"{name} makes images from images, and the data has no inputs; set data.inputs")
        described = kind if direction == "AtoB" else f"{kind or 'stored'}, {direction}"
        cards.append(translation_card(model, pairs, data, scoring, options, described, show_progress))
    elif metrics or likelihoods:
        split = options.split or "train"
        if options.reference is None:
            real: ImageSet = data.image_set(split)
        else:
            channels, side, _ = model.image_shape
            # the reference goes through the model, unless only samples are scored
            real = folder_set(options.reference, side, None if from_noise and not likelihoods else channels)
        common: dict[str, Any] = {
            "batch_size": scoring.batch_size,
            "split": None if options.reference else split,
        }
        if likelihoods:
            check_likelihood_metrics(model, likelihoods)
            check_likelihood(model, data)
            if not metrics and options.sampling != DEFAULT_SAMPLING:
                raise InputError(f"{likelihoods[0]} does not depend on how images are sampled; leave these options out")
        if metrics:
            extractor = scoring.extractor(data)
            keywords = common | {"metrics": metrics, "num_samples": options.num_samples}
            if isinstance(model, ImageGenerator) and from_noise:
                keywords |= {"band_draws": scoring.band_draws, "distance": scoring.path_distance()}
                if options.reference is None or "held_out" in needs_of(metrics):
                    # the test split contains the classes that training left out, the val split does not
                    held_out = data.image_set("val" if data.leave_out else "test")
                    keywords |= {"training": data.image_set("train"), "held_out": held_out}
                drawn: list[ScoreCard] = []
                for draw in range(options.draws):
                    with progress_bar(model, share_of(options.num_samples, len(real)), show_progress):
                        drawn.append(score_samples(model, real, extractor, seed=options.seed + draw, **keywords))
                cards.append(ScoreCard.mean_of(drawn))
            elif isinstance(model, Reconstructor):
                cards.append(score_reconstructions(model, real, extractor, seed=options.seed, **keywords))
        if likelihoods:
            assert isinstance(model, LikelihoodModel | DensityModel)
            keywords = common | {"metrics": likelihoods, "num_images": options.num_samples}
            samples = options.importance_samples
            cards.append(score_likelihood(model, real, seed=options.seed, importance_samples=samples, **keywords))
    return reduce(ScoreCard.merge, cards)


def with_checkpoint(card: ScoreCard, checkpoint: Path) -> ScoreCard:
    """Add to a card the checkpoint, its hash and how it was chosen, which is unknown of an exported model."""
    if checkpoint.name != WEIGHTS:
        card = with_selection(card, checkpoint)
    return replace(card, checkpoint=str(checkpoint), checkpoint_hash=file_hash(checkpoint))


def share_of(num_samples: int | None, available: int) -> int:
    """The number of images that this process generates."""
    _, num_processes = rank_and_world_size()
    return -(-(num_samples or min(available, MAX_SAMPLES)) // num_processes)


def translation_card(
    model: Translator,
    pairs: PairSet,
    data: ImageData,
    scoring: ScoringOptions,
    options: ModelOptions,
    input_kind: str | None,
    show_progress: bool,
) -> ScoreCard:
    """Score the translations of a checkpoint, over the draws of a model with noise.

    Args:
        model: the model.
        pairs: inputs and targets.
        data: the data that the model was trained on, for the extractor.
        scoring: options that apply to folders, too.
        options: options of the model.
        input_kind: how the inputs were made; None: they are stored.
        show_progress: whether this process shows a progress bar.

    Returns:
        The score card, on every process.

    Raises:
        InputError: when a metric is undefined for the images, or several draws of a model without noise are requested.
    """
    if differ_in_size(pairs):
        extractor, metrics = None, () if scoring.requested is None else scoring.image_metrics
    else:
        # the dataset's classifier takes images of the dataset's size alone
        fits = scoring.features != AUTO or tuple(pairs.images[:1].shape[2:]) == data.image_shape[1:]
        extractor, metrics = scoring.extractor_of_pairs(data if fits else None, options.back)
    lpips = scoring.lpips()
    drawn: list[ScoreCard] = []
    for draw in range(options.draws):
        with progress_bar(model, share_of(options.num_samples, len(pairs.inputs)), show_progress):
            card = score_translations(
                model,
                pairs,
                extractor,
                metrics=metrics,
                num_samples=options.num_samples,
                batch_size=scoring.batch_size,
                seed=options.seed + draw,
                split=None if options.reference else options.split or "test",
                back=options.back,
                with_baseline=draw == 0,
                lpips=lpips,
                input_kind=input_kind,
            )
        if card.seed is None and options.draws > 1:
            raise InputError(f"--draws are draws of noise, and {type(model).__name__} uses none; leave it out")
        drawn.append(card)
    return ScoreCard.mean_of(drawn)


def read_pairs(
    path: Path, input_shape: ImageShape, image_shape: ImageShape, kind: str | None, direction: str
) -> PairSet:
    """Read a folder of pairs, or of images from which inputs of a kind are computed, for a model of these shapes."""
    (input_channels, input_height, _), (channels, height, _) = input_shape, image_shape
    if direction == "BtoA":
        pairs = folder_pairs(path, kind, None, input_channels, channels)
        return PairSet(pairs.images, pairs.inputs, pairs.paired)
    scale = height // input_height
    return folder_pairs(path, kind, scale if scale > 1 else None, channels, input_channels)


def with_selection(card: ScoreCard, checkpoint: Path) -> ScoreCard:
    """Add to a card how its checkpoint was chosen, and a flag where the same draw of samples chose it."""
    callbacks = read_checkpoint(checkpoint).get("callbacks", {})
    monitored = [state["monitor"] for name, state in callbacks.items() if name.startswith("BestCheckpoint")]
    if checkpoint.stem == "last":
        return replace(card, selection="the last of its run")
    if checkpoint.stem != "best" or not monitored:
        return card
    by_score = monitored[0].startswith("fidelity/")
    seed = callbacks.get("Fidelity", {}).get("seed") if by_score else None
    by_draw = "" if seed is None else f", on the draw of seed {seed}"
    card = replace(card, selection=f"the best of its run by {monitored[0]}{by_draw}")
    drawn = range(card.seed, card.seed + max(1, len(card.draws))) if card.seed is not None else range(0)
    if seed not in drawn or card.subject != "samples":
        return card
    chosen_by = f"the draw of seed {seed} also chose the checkpoint: biased towards better scores"
    flags = {
        metric: join_flags([card.flags.get(metric, ""), chosen_by])
        for metric in card.metrics
        if metric not in LIKELIHOOD_METRICS
    }
    return replace(card, flags={**card.flags, **flags})
