"""The command ``evaluate``: scores a checkpoint against its dataset, or a folder of images against another."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from rich.console import Console

from lightning_gen.cache import cache_dir, check_writable
from lightning_gen.checks import check_at_least
from lightning_gen.cli.devices import resolve_device
from lightning_gen.cli.generation import DEFAULT_SAMPLING
from lightning_gen.cli.outputs import check_creatable
from lightning_gen.cli.runs import run_folder_of
from lightning_gen.cli.scoring_folders import score_folder
from lightning_gen.cli.scoring_models import score_checkpoint
from lightning_gen.cli.scoring_options import REQUESTABLE, ModelOptions, ScoringOptions, Split, check_scoring
from lightning_gen.cli.tracking import wandb_run
from lightning_gen.cli.truncating import NO_TRUNCATION, TruncationOptions, set_truncation
from lightning_gen.errors import InputError
from lightning_gen.evaluation import AUTO, ScoreCard
from lightning_gen.models.checkpoint import find_checkpoint
from lightning_gen.types import SamplingOptions

if TYPE_CHECKING:
    Metric = str
else:
    Metric = Literal[REQUESTABLE]


def evaluate(
    ckpt: Path | None = None,
    generated: Path | None = None,
    reference: Path | None = None,
    metrics: list[Metric] | None = None,
    features: str = AUTO,
    num_samples: int | None = None,
    split: Split | None = None,
    seed: int = 1,
    draws: int = 1,
    band_draws: int | None = None,
    raw: bool = False,
    batch_size: int = 100,
    importance_samples: int | None = None,
    reconstructions: bool = False,
    back: bool = False,
    paired: bool = False,
    scale: int | None = None,
    inception_weights: Path | None = None,
    lpips_weights: Path | None = None,
    root: str | None = None,
    image_size: int | None = None,
    out: Path | None = None,
    device: str | None = None,
    wandb: bool = True,
    sampling: SamplingOptions = DEFAULT_SAMPLING,
    style_options: TruncationOptions = NO_TRUNCATION,
) -> None:
    """Score a checkpoint, or a folder of images, and write the score card.

    A model that generates images from noise is scored by its samples, a model that makes images from images by its
    translations, and a model that only reconstructs by its reconstructions. Translations of paired data have psnr and
    ssim, and at a scale above 1 psnr_y and ssim_y, whatever the metrics, and the scores of the inputs beside them.
    Under torchrun the processes share the work, and the scores are those of a single process.

    Args:
        ckpt: a checkpoint, or a run's folder (its best checkpoint, else its last).
        generated: a folder or zip of images to score instead of a checkpoint.
        reference: a folder or zip of real images; default: the dataset that the checkpoint was trained on. For a
            translator, a folder of pairs, or of images if the checkpoint's inputs are computed from images.
        metrics: one or several metrics, described in docs/scoring.md; default: fid, where there is an extractor for it.
            elbo and nll are likelihoods of the split's images under the model; copies compares samples with the train
            and test splits, whatever the split; lpips compares pairs; ppl_zfull ... are path lengths of a generator.
        features: the extractor whose features are compared: classifier (trained on the labelled dataset itself),
            inception (the published protocol), efficientnet_lite0 (for photographs, without a download), or another
            extractor of torch-fidelity. auto is the classifier for a checkpoint of labelled data with enough images per
            class, otherwise inception if its weights are present, otherwise efficientnet_lite0 if it is installed.
        num_samples: the number of images to generate; default: the size of the reference, at most 10,000.
        split: the dataset's split to score against; default: test for translations, train otherwise.
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
        back: score the translations of the targets to the domain of the inputs, for a model of both directions.
        paired: compare each image of generated with the image of the same name of reference, too.
        scale: with paired, also compare luma without that many pixels at the border: psnr_y and ssim_y.
        inception_weights: a file of torch-fidelity's Inception weights, if they cannot be downloaded.
        lpips_weights: a file of torchvision's AlexNet weights, for lpips; with it, path lengths are measured by LPIPS
            instead of the extractor's features.
        root: the folder of the checkpoint's dataset, if it has moved.
        image_size: height and width to which the images of folders are resized, if they differ.
        out: the file of the score card; default: a file in the folder evaluation beside the run's checkpoints.
        device: cpu, cuda, mps ...; default: the best available.
        wandb: log the score card to the W&B run of the checkpoint's run, if it has one.
        sampling: options of models that sample iteratively.
        style_options: options of style-based generators.

    Raises:
        InputError: when the arguments contradict each other, or a file or value cannot be used.
    """
    if (ckpt is None) == (generated is None):
        raise InputError("name either --ckpt, or --generated and --reference, two folders of images")
    check_scoring(
        metrics,
        seed=seed,
        draws=draws,
        band_draws=band_draws,
        num_samples=num_samples,
        batch_size=batch_size,
        importance_samples=importance_samples,
    )
    check_at_least(1, prefix="--", scale=scale)
    if out is not None:
        check_creatable(out)
    check_writable(cache_dir())
    with processes(device) as (own_device, is_first):
        scoring = ScoringOptions(
            None if metrics is None else tuple(metrics),
            features,
            batch_size,
            inception_weights,
            lpips_weights,
            own_device,
            band_draws,
        )
        if ckpt is not None:
            if paired or scale is not None:
                raise InputError("--paired and --scale belong to --generated; a checkpoint's data has its own")
            checkpoint = find_checkpoint(ckpt)
            options = ModelOptions(
                reference=reference,
                num_samples=num_samples,
                split=split,
                seed=seed,
                draws=draws,
                raw=raw,
                importance_samples=importance_samples,
                reconstructions=reconstructions,
                back=back,
                root=root,
                sampling=sampling,
                truncation=style_options,
            )
            card = score_checkpoint(checkpoint, scoring, options, show_progress=is_first)
            run = run_folder_of(checkpoint)
            out = out or run / "evaluation" / card_name(card, checkpoint, metrics, sampling)
        else:
            assert generated is not None
            if draws > 1 or back:
                raise InputError(f"--{'back' if back else 'draws'} needs a model; name its --ckpt")
            set_truncation(None, style_options)
            run = None
            card = score_folder(
                generated,
                reference,
                scoring,
                image_size=image_size,
                sampling=sampling,
                paired=paired,
                scale=scale,
            )
        if is_first:
            report(card, out, run if wandb else None)


def card_name(card: ScoreCard, checkpoint: Path, metrics: Sequence[str] | None, sampling: SamplingOptions) -> str:
    """The default file name of a checkpoint's score card, e.g. ``best_ema_fid1437_train_classifier.json``."""
    parts = [checkpoint.stem]
    if card.weights:
        parts.append(card.weights)
    if card.drawn and sampling != DEFAULT_SAMPLING:
        parts.append(file_name_of(card.drawn))
    if card.truncation not in (None, 1.0):
        parts.append(f"psi{card.truncation:g}" + (f"of{card.truncated_layers}" if card.truncated_layers else ""))
    parts += [f"{len(card.draws)}draws"] * bool(card.draws)
    return "_".join([*parts, file_name_of(card.protocol_of(metrics))]) + ".json"


def file_name_of(text: str) -> str:
    """Replace characters that do not belong in a file name by underscores."""
    return re.sub(r"[^\w.-]+", "_", text)


def report(card: ScoreCard, out: Path | None, run: Path | None) -> None:
    """Print a score card, write it, and add it to the run's W&B run.

    Args:
        card: the score card.
        out: its file; None to write no file.
        run: the run's folder; None to log nothing.
    """
    console = Console()
    console.print(card.table())
    if out is not None:
        card.save(out)
        console.print(f"score card: {out}", highlight=False, soft_wrap=True)
    with wandb_run(run) as logger:
        if logger is not None:
            logger.log_score_card(asdict(card), key=f"evaluate/{card.protocol_of(card.metrics)}")


@contextmanager
def processes(device: str | None) -> Iterator[tuple[str, bool]]:
    """Join the process group of torchrun, if it started this process.

    Args:
        device: the requested device; None for the best available.

    Yields:
        This process's device, and whether it is the first process.

    Raises:
        InputError: if there are several processes, and torchrun did not start them.
    """
    kind = resolve_device(device)
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        yield kind, True
        return
    if missing := [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]:
        raise InputError(
            f"the environment variable WORLD_SIZE is {os.environ['WORLD_SIZE']} and {missing[0]} is not set; start "
            "several processes with torchrun, or unset WORLD_SIZE"
        )
    if kind == "cuda":
        kind = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(kind)
    torch.distributed.init_process_group("nccl" if kind.startswith("cuda") else "gloo")
    try:
        yield kind, torch.distributed.get_rank() == 0
    finally:
        torch.distributed.destroy_process_group()
