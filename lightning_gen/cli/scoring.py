"""Score a checkpoint against its dataset, or any folder of images against another."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from lightning_gen.checks import check_at_least
from lightning_gen.cli.checks import check_likelihood
from lightning_gen.cli.devices import resolve_device
from lightning_gen.cli.generation import DEFAULT_SAMPLING, progress_bar, set_sampling
from lightning_gen.cli.runs import run_folder_of
from lightning_gen.data import ImageData, folder_set
from lightning_gen.errors import InputError
from lightning_gen.evaluation import (
    LIKELIHOODS,
    ScoreCard,
    make_extractor,
    refuse_likelihood,
    score_likelihood,
    score_reconstructor,
    score_sampler,
    score_sets,
)
from lightning_gen.evaluation.scoring import MOST_SAMPLES
from lightning_gen.loggers import WandbRunLogger
from lightning_gen.models.checkpoint import find_checkpoint, load_model, read_checkpoint
from lightning_gen.types import DensityModel, ImageSet, LikelihoodModel, Reconstructor, Sampler, Sampling

Metric = Literal["fid", "isc", "kid", "prc", "modes", "elbo", "nll"]
Split = Literal["train", "val", "test"]


def evaluate(
    ckpt: Path | None = None,
    generated: Path | None = None,
    reference: Path | None = None,
    metrics: list[Metric] = ["fid"],  # noqa: B006 (never changed, and the parser shows it)
    features: str | None = None,
    num_samples: int | None = None,
    split: Split = "train",
    seed: int = 0,
    raw: bool = False,
    batch_size: int = 100,
    importance_samples: int | None = None,
    reconstructions: bool = False,
    inception_weights: Path | None = None,
    root: str | None = None,
    image_size: int | None = None,
    out: Path | None = None,
    device: str | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
) -> None:
    """Score a checkpoint, or a folder of images, and write the score card.

    A model that draws samples is scored by them; one that only reconstructs, by its reconstructions. Under torchrun
    the work is shared among the processes, and the numbers are those of one.

    Args:
        ckpt: a checkpoint, or a run's folder (its best checkpoint, else its last).
        generated: a folder or zip of images to score, in place of a checkpoint.
        reference: a folder or zip of real images; by default the dataset that the checkpoint was trained on.
        metrics: fid, isc, kid, prc (precision and recall), modes (classes covered), and the likelihood of the split's
            images: nll (of VAEs, diffusion models and flows) and elbo (of VAEs); one or several.
        features: what compares the images: classifier (trained on the labelled dataset itself; the default for a
            checkpoint of labelled data), inception (the published protocol; the default otherwise), or another
            extractor of torch-fidelity.
        num_samples: images to draw; by default as many as the reference has, at most 10,000.
        split: the dataset's split to score against.
        seed: seed of the samples.
        raw: score the trained weights and not their moving average.
        batch_size: images that are drawn and looked at at once; the scores do not depend on it.
        importance_samples: what is drawn for each image of elbo and nll: latents of a VAE (1000 when not given), probes
            of a flow's divergence (1), times of DDPM's bound (all of them, once each).
        reconstructions: score the reconstructions of a model that also draws samples.
        inception_weights: a file of torch-fidelity's Inception weights, where they cannot be downloaded.
        root: where the checkpoint's dataset lies now, if it has moved.
        image_size: side to which the images of the folders are brought, where they differ.
        out: the score card's file; by default in the folder evaluation beside the run's checkpoints.
        device: cpu, cuda, mps ...; the best there is when not given.
        sampling: how a model that draws step by step should draw.

    Raises:
        InputError: when the arguments do not go together, or anything named cannot be used.
    """
    if (ckpt is None) == (generated is None):
        raise InputError("name either --ckpt, or --generated and --reference, two folders of images")
    if not metrics:
        raise InputError("--metrics is empty; choose from fid, isc, kid, prc, modes, elbo and nll")
    check_at_least(0, prefix="--", seed=seed)
    numbers = {"num_samples": num_samples, "batch_size": batch_size, "importance_samples": importance_samples}
    for option, value in numbers.items():
        if value is not None and value < 1:
            raise InputError(f"--{option} is {value}; it must be at least 1")
    with processes(device) as (place, first):
        common: dict[str, Any] = {"batch_size": batch_size}
        likelihoods = tuple(metric for metric in metrics if metric in LIKELIHOODS)
        compared = tuple(metric for metric in metrics if metric not in LIKELIHOODS)
        if ckpt is not None:
            checkpoint = find_checkpoint(ckpt)
            data = dataset_of(checkpoint, root)
            model = load_model(checkpoint).to(place)
            model.use_ema = not raw
            set_sampling(model, sampling)
            channels, side, _ = model.image_shape
            looks = bool(likelihoods) or reconstructions or not isinstance(model, Sampler)  # at the images itself
            real = folder_set(reference, side, channels if looks else None) if reference else data.image_set(split)
            common |= {"seed": seed, "split": None if reference else split}
            cards: list[ScoreCard] = []
            if likelihoods:
                refuse_likelihood(model, likelihoods)
                check_likelihood(model, data)
                if not compared and sampling != DEFAULT_SAMPLING:
                    raise InputError(f"{likelihoods[0]} does not depend on how images are drawn; leave that out")
            if compared:
                features = features or ("classifier" if data.num_classes else "inception")
                labelled = labelled_sets(data) if features == "classifier" else None
                extractor = make_extractor(
                    features, labelled=labelled, inception_weights=inception_weights, device=place
                )
                asked = common | {"metrics": compared, "num_samples": num_samples}
                if isinstance(model, Sampler) and not reconstructions:
                    share = -(-(num_samples or min(len(real), MOST_SAMPLES)) // world_size())
                    with progress_bar(model, share, first):
                        cards.append(score_sampler(model, real, extractor, **asked))
                elif isinstance(model, Reconstructor):
                    cards.append(score_reconstructor(model, real, extractor, **asked))
                else:
                    does = "reconstructs no images" if reconstructions else "neither draws samples nor reconstructs"
                    raise InputError(f"{type(model).__name__} {does}")
            if likelihoods:
                assert isinstance(model, LikelihoodModel | DensityModel)
                asked = {"metrics": likelihoods, "num_images": num_samples, "importance_samples": importance_samples}
                cards.append(score_likelihood(model, real, **common, **asked))
            card = reduce(ScoreCard.joined, cards)
            digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
            card = replace(card, checkpoint=str(checkpoint), checkpoint_hash=digest)
            weights = f"_{card.weights}" if card.weights else ""
            drawn = f"_{in_file(card.drawn)}" if card.drawn and sampling != DEFAULT_SAMPLING else ""
            name = f"{checkpoint.stem}{weights}{drawn}_{in_file(card.protocol[metrics[0]])}.json"
            out = out or run_folder_of(checkpoint) / "evaluation" / name
        else:
            assert generated is not None
            if reference is None:
                raise InputError("--generated needs --reference, a folder of real images to score against")
            if sampling != DEFAULT_SAMPLING:
                raise InputError("how to draw is asked of a model; name its --ckpt")
            if likelihoods:
                raise InputError(f"{likelihoods[0]} is of a model with a likelihood; name its --ckpt")
            fake, real = folder_set(generated, image_size), folder_set(reference, image_size)
            labelled = None
            if features == "classifier":
                side = int(real[:1].shape[-1])
                labelled = labelled_sets(ImageData("folder", root=str(reference), image_size=side))
            extractor = make_extractor(
                features or "inception", labelled=labelled, inception_weights=inception_weights, device=place
            )
            card = score_sets(fake, real, extractor, metrics=compared, **common)
        if first:
            report(card, out, run_folder_of(checkpoint) if ckpt is not None else None)


def in_file(words: str) -> str:
    """What a score is of, as part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", words)


def dataset_of(checkpoint: Path, root: str | None) -> ImageData:
    """Rebuild the data module that a checkpoint was trained with.

    Args:
        checkpoint: the file.
        root: where the data lies now, if it has moved.

    Returns:
        The data module.

    Raises:
        InputError: when the checkpoint does not say.
    """
    options = read_checkpoint(checkpoint).get("datamodule_hyper_parameters")
    if not options:
        raise InputError(f"{checkpoint} was not trained with ImageData; name --reference, a folder of real images")
    return ImageData(**(options | ({"root": root} if root else {})))


def labelled_sets(data: ImageData) -> tuple[ImageSet, ImageSet]:
    """What a classifier learns from and is tested on."""
    return data.image_set("train"), data.image_set("val")  # which has no class that training left out


def report(card: ScoreCard, out: Path | None, run: Path | None) -> None:
    """Print a score card, write it, and add it to the run's W&B run where there is one.

    Args:
        card: the score card.
        out: its file, if any.
        run: the run's folder, if any.
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


def world_size() -> int:
    """How many processes torchrun started."""
    return int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def processes(device: str | None) -> Iterator[tuple[str, bool]]:
    """Join the processes that torchrun started, if it did.

    Args:
        device: the device asked for.

    Yields:
        This process's device, and whether it is the first process.
    """
    kind = resolve_device(device)
    if world_size() == 1:
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
