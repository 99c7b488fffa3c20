"""The command ``evaluate``: scores a checkpoint against its dataset, or a folder of images against another."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from rich.console import Console

from lightning_gen.checks import check_at_least
from lightning_gen.cli.checks import check_likelihood
from lightning_gen.cli.devices import resolve_device
from lightning_gen.cli.generation import DEFAULT_SAMPLING, progress_bar, set_sampling
from lightning_gen.cli.runs import run_folder_of
from lightning_gen.data import ImageData, folder_set
from lightning_gen.distributed import rank_and_world_size
from lightning_gen.errors import InputError
from lightning_gen.evaluation import (
    AUTO,
    FEATURE_METRICS,
    LIKELIHOOD_METRICS,
    MAX_SAMPLES,
    NO_EXTRACTOR,
    Extractor,
    ScoreCard,
    check_likelihood_metrics,
    choose_extractor,
    classifier_splits,
    make_extractor,
    needs_of,
    score_images,
    score_likelihood,
    score_reconstructions,
    score_samples,
)
from lightning_gen.evaluation.card import join_flags
from lightning_gen.hashing import file_hash
from lightning_gen.loggers import WandbRunLogger
from lightning_gen.models.checkpoint import find_checkpoint, load_model, read_checkpoint
from lightning_gen.types import DensityModel, ImageGenerator, ImageSet, LikelihoodModel, Reconstructor, SamplingOptions

if TYPE_CHECKING:
    Metric = str
else:
    Metric = Literal[FEATURE_METRICS + LIKELIHOOD_METRICS]
Split = Literal["train", "val", "test"]


def evaluate(
    ckpt: Path | None = None,
    generated: Path | None = None,
    reference: Path | None = None,
    metrics: list[Metric] = ["fid"],  # noqa: B006 (never changed, and the parser shows it)
    features: str = AUTO,
    num_samples: int | None = None,
    split: Split = "train",
    seed: int = 1,
    draws: int = 1,
    band_draws: int | None = None,
    raw: bool = False,
    batch_size: int = 100,
    importance_samples: int | None = None,
    reconstructions: bool = False,
    inception_weights: Path | None = None,
    root: str | None = None,
    image_size: int | None = None,
    out: Path | None = None,
    device: str | None = None,
    sampling: SamplingOptions = DEFAULT_SAMPLING,
) -> None:
    """Score a checkpoint, or a folder of images, and write the score card.

    A model that generates images is scored by its samples, a model that only reconstructs by its reconstructions.
    Under torchrun the processes share the work, and the scores are those of a single process.

    Args:
        ckpt: a checkpoint, or a run's folder (its best checkpoint, else its last).
        generated: a folder or zip of images to score instead of a checkpoint.
        reference: a folder or zip of real images; default: the dataset that the checkpoint was trained on.
        metrics: one or several metrics, described in docs/scoring.md; elbo and nll are likelihoods of the split's
            images under the model; copies compares samples with the train and test splits, whatever the split.
        features: the extractor whose features are compared: classifier (trained on the labelled dataset itself),
            inception (the published protocol), efficientnet_lite0 (for photographs, without a download), or another
            extractor of torch-fidelity. auto is the classifier for a checkpoint of labelled data with enough images per
            class, otherwise inception if its weights are present, otherwise efficientnet_lite0 if it is installed.
        num_samples: the number of images to generate; default: the size of the reference, at most 10,000.
        split: the dataset's split to score against.
        seed: seed of the samples. Scores during training use 0, so that this draw did not choose the checkpoint.
        draws: the number of sample seeds, from this seed on; the card has the mean, the standard deviation and each
            value. One draw gives no standard deviation.
        band_draws: bootstrap draws of the reference, whose scores are on the card beside the model's; 0 for none;
            default: 100 for fid, 20 for prc, and at most 20 for features wider than 256.
        raw: score the trained weights instead of their moving average.
        batch_size: the number of images per batch; it has no effect on the scores.
        importance_samples: random draws per image for elbo and nll: latents of a VAE (default 1000), probes of a flow's
            divergence (default 1), times of DDPM's bound (default: each of them once).
        reconstructions: score the reconstructions of a model that also generates images.
        inception_weights: a file of torch-fidelity's Inception weights, if they cannot be downloaded.
        root: the folder of the checkpoint's dataset, if it has moved.
        image_size: height and width to which the images of folders are resized, if they differ.
        out: the file of the score card; default: a file in the folder evaluation beside the run's checkpoints.
        device: cpu, cuda, mps ...; default: the best available.
        sampling: options of models that sample iteratively.

    Raises:
        InputError: when the arguments contradict each other, or a file or value cannot be used.
    """
    if (ckpt is None) == (generated is None):
        raise InputError("name either --ckpt, or --generated and --reference, two folders of images")
    if not metrics:
        raise InputError(f"--metrics is empty; choose from {', '.join(FEATURE_METRICS + LIKELIHOOD_METRICS)}")
    check_at_least(0, prefix="--", seed=seed)
    check_at_least(0, prefix="--", band_draws=band_draws)
    if band_draws == 1:
        raise InputError("--band_draws is 1, and one draw has no standard deviation; set 0 for none, or 2 or more")
    check_at_least(
        1,
        prefix="--",
        num_samples=num_samples,
        batch_size=batch_size,
        importance_samples=importance_samples,
        draws=draws,
    )
    with processes(device) as (own_device, is_first):
        scoring = ScoringOptions(tuple(metrics), features, batch_size, inception_weights, own_device, band_draws)
        if ckpt is not None:
            checkpoint = find_checkpoint(ckpt)
            card = score_checkpoint(
                checkpoint,
                scoring,
                reference=reference,
                num_samples=num_samples,
                split=split,
                seed=seed,
                draws=draws,
                raw=raw,
                importance_samples=importance_samples,
                reconstructions=reconstructions,
                root=root,
                sampling=sampling,
                show_progress=is_first,
            )
            run = run_folder_of(checkpoint)
            out = out or run / "evaluation" / card_name(card, checkpoint, metrics[0], sampling)
        else:
            assert generated is not None
            if draws > 1:
                raise InputError("--draws are draws of a model's samples; name its --ckpt")
            card, run = score_folder(generated, reference, scoring, image_size=image_size, sampling=sampling), None
        if is_first:
            report(card, out, run)


@dataclass(frozen=True)
class ScoringOptions:
    """The options of ``evaluate`` that apply to checkpoints and to folders.

    Attributes:
        metrics: the requested metrics.
        features: name of the extractor, or ``auto``.
        batch_size: the number of images per batch.
        inception_weights: file of Inception's weights.
        device: device of this process.
        band_draws: bootstrap draws of the reference band; None for the default.
    """

    metrics: tuple[str, ...]
    features: str
    batch_size: int
    inception_weights: Path | None
    device: str
    band_draws: int | None

    @property
    def feature_metrics(self) -> tuple[str, ...]:
        """The requested metrics that compare features."""
        return tuple(metric for metric in self.metrics if metric not in LIKELIHOOD_METRICS)

    @property
    def likelihoods(self) -> tuple[str, ...]:
        """The requested likelihoods."""
        return tuple(metric for metric in self.metrics if metric in LIKELIHOOD_METRICS)

    def extractor(self, data: ImageData | None) -> Extractor:
        """Create the extractor; ``classifier`` is trained on ``data``. InputError where ``auto`` finds none."""
        name: str | None = self.features
        if name == AUTO:
            train = data.image_set("train") if data is not None and data.num_classes else None
            name = choose_extractor(train, self.inception_weights)
        if name is None:
            raise InputError(NO_EXTRACTOR)
        return make_extractor(
            name,
            labelled=classifier_splits(data) if data is not None and name == "classifier" else None,
            inception_weights=self.inception_weights,
            device=self.device,
        )


def score_checkpoint(
    checkpoint: Path,
    scoring: ScoringOptions,
    *,
    reference: Path | None,
    num_samples: int | None,
    split: Split,
    seed: int,
    draws: int,
    raw: bool,
    importance_samples: int | None,
    reconstructions: bool,
    root: str | None,
    sampling: SamplingOptions,
    show_progress: bool,
) -> ScoreCard:
    """Score a checkpoint; for the arguments see :func:`evaluate`.

    Args:
        checkpoint: the file.
        scoring: options shared with :func:`score_folder`.
        reference: folder or zip of real images; None for the checkpoint's dataset.
        num_samples: the number of images to generate.
        split: split of the dataset.
        seed: seed of the samples.
        draws: the number of sample seeds.
        raw: whether to score the trained weights.
        importance_samples: random draws per image of a likelihood.
        reconstructions: whether to score reconstructions.
        root: folder of the dataset, if it has moved.
        sampling: options of models that sample iteratively.
        show_progress: whether this process shows a progress bar.

    Returns:
        The score card, on every process.

    Raises:
        InputError: when the checkpoint, its data or the model cannot be scored this way.
    """
    data = dataset_of(checkpoint, root)
    model = load_model(checkpoint).to(scoring.device)
    model.use_ema = not raw
    set_sampling(model, sampling)
    likelihoods, metrics = scoring.likelihoods, scoring.feature_metrics
    from_samples = isinstance(model, ImageGenerator) and not reconstructions
    if draws > 1 and not (from_samples and metrics):
        raise InputError("--draws are draws of samples, and none are scored; leave it out")
    if reference is None:
        real: ImageSet = data.image_set(split)
    else:
        channels, side, _ = model.image_shape
        # the reference goes through the model, unless only samples are scored
        real = folder_set(reference, side, None if from_samples and not likelihoods else channels)
    common: dict[str, Any] = {
        "batch_size": scoring.batch_size,
        "split": None if reference else split,
    }
    cards: list[ScoreCard] = []
    if likelihoods:
        check_likelihood_metrics(model, likelihoods)
        check_likelihood(model, data)
        if not metrics and sampling != DEFAULT_SAMPLING:
            raise InputError(f"{likelihoods[0]} does not depend on how images are sampled; leave these options out")
    if metrics:
        extractor = scoring.extractor(data)
        options = common | {"metrics": metrics, "num_samples": num_samples}
        samples_only: dict[str, Any] = {}
        if reference is None or "held_out" in needs_of(metrics):
            # the test split contains the classes that training left out, the val split does not
            held_out = data.image_set("val" if data.leave_out else "test")
            samples_only = {"training": data.image_set("train"), "held_out": held_out}
        if isinstance(model, ImageGenerator) and from_samples:
            _, num_processes = rank_and_world_size()
            share = -(-(num_samples or min(len(real), MAX_SAMPLES)) // num_processes)
            options |= {"band_draws": scoring.band_draws, **samples_only}
            drawn: list[ScoreCard] = []
            for draw in range(draws):
                with progress_bar(model, share, show_progress):
                    drawn.append(score_samples(model, real, extractor, seed=seed + draw, **options))
            cards.append(ScoreCard.mean_of(drawn))
        elif isinstance(model, Reconstructor):
            cards.append(score_reconstructions(model, real, extractor, seed=seed, **options))
        else:
            lacks = "reconstructs no images" if reconstructions else "neither generates nor reconstructs images"
            raise InputError(f"{type(model).__name__} {lacks}")
    if likelihoods:
        assert isinstance(model, LikelihoodModel | DensityModel)
        options = {"metrics": likelihoods, "num_images": num_samples, "importance_samples": importance_samples}
        cards.append(score_likelihood(model, real, seed=seed, **common, **options))
    card = reduce(ScoreCard.merge, cards)
    return replace(with_selection(card, checkpoint), checkpoint=str(checkpoint), checkpoint_hash=file_hash(checkpoint))


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


def score_folder(
    generated: Path,
    reference: Path | None,
    scoring: ScoringOptions,
    *,
    image_size: int | None,
    sampling: SamplingOptions,
) -> ScoreCard:
    """Score a folder or zip of images against another.

    Args:
        generated: the images to score.
        reference: the real images.
        scoring: options shared with :func:`score_checkpoint`.
        image_size: height and width to which images are resized.
        sampling: must be the default, because no model is sampled.

    Returns:
        The score card, on every process.

    Raises:
        InputError: when there is no reference, an option needs a model, or the images cannot be read.
    """
    if reference is None:
        raise InputError("--generated needs --reference, a folder of real images to score against")
    if sampling != DEFAULT_SAMPLING:
        raise InputError("options of sampling need a model; name its --ckpt")
    if scoring.likelihoods:
        raise InputError(f"{scoring.likelihoods[0]} needs a model with a likelihood; name its --ckpt")
    fake, real = folder_set(generated, image_size), folder_set(reference, image_size)
    data = None
    if scoring.features == "classifier":
        data = ImageData("folder", root=str(reference), image_size=int(real[:1].shape[-1]))
    extractor = scoring.extractor(data)
    return score_images(
        fake,
        real,
        extractor,
        metrics=scoring.feature_metrics,
        batch_size=scoring.batch_size,
        band_draws=scoring.band_draws,
    )


def card_name(card: ScoreCard, checkpoint: Path, metric: str, sampling: SamplingOptions) -> str:
    """The default file name of a checkpoint's score card, e.g. ``best_ema_fid1437_train_classifier.json``."""
    parts = [checkpoint.stem]
    if card.weights:
        parts.append(card.weights)
    if card.drawn and sampling != DEFAULT_SAMPLING:
        parts.append(file_name_of(card.drawn))
    parts += [f"{len(card.draws)}draws"] * bool(card.draws)
    return "_".join([*parts, file_name_of(card.protocol[metric])]) + ".json"


def file_name_of(text: str) -> str:
    """Replace characters that do not belong in a file name by underscores."""
    return re.sub(r"[^\w.-]+", "_", text)


def dataset_of(checkpoint: Path, root: str | None) -> ImageData:
    """Rebuild the data module that a checkpoint was trained with.

    Args:
        checkpoint: the file.
        root: folder of the dataset, if it has moved.

    Returns:
        The data module.

    Raises:
        InputError: when the checkpoint has no data options.
    """
    options = read_checkpoint(checkpoint).get("datamodule_hyper_parameters")
    if not options:
        raise InputError(f"{checkpoint} was not trained with ImageData; name --reference, a folder of real images")
    return ImageData(**(options | ({"root": root} if root else {})))


def report(card: ScoreCard, out: Path | None, run: Path | None) -> None:
    """Print a score card, write it, and add it to the run's W&B run.

    Args:
        card: the score card.
        out: its file; None to write no file.
        run: the run's folder; None for images that belong to no run.
    """
    console = Console()
    console.print(card.table())
    if out is not None:
        card.save(out)
        console.print(f"score card: {out}", highlight=False, soft_wrap=True)
    if run is not None and (run / "wandb" / "run-id").is_file():
        logger = WandbRunLogger(run)
        logger.log_score_card(asdict(card), key=f"evaluate/{card.protocol[card.metrics[0]]}")
        logger.close()
        if logger.sync_command:
            console.print(f"W&B: {logger.sync_command}", highlight=False, soft_wrap=True)


@contextmanager
def processes(device: str | None) -> Iterator[tuple[str, bool]]:
    """Join the process group of torchrun, if it started this process.

    Args:
        device: the requested device; None for the best available.

    Yields:
        This process's device, and whether it is the first process.
    """
    kind = resolve_device(device)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield kind, True
        return
    if kind == "cuda":
        kind = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(kind)
    torch.distributed.init_process_group("nccl" if kind.startswith("cuda") else "gloo")
    try:
        yield kind, torch.distributed.get_rank() == 0
    finally:
        torch.distributed.destroy_process_group()
