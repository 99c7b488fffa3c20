"""The command ``inspect``: pictures and numbers of a checkpoint."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_gen.checks import check_at_least
from lightning_gen.cli.checkpoint_data import dataset_of
from lightning_gen.cli.devices import resolve_device
from lightning_gen.cli.generation import set_sampling
from lightning_gen.cli.outputs import check_creatable
from lightning_gen.cli.parsing import parse_options
from lightning_gen.cli.runs import run_folder_of
from lightning_gen.cli.tracking import wandb_run
from lightning_gen.cli.truncating import TruncationOptions, set_truncation
from lightning_gen.drawing import with_caption
from lightning_gen.evaluation.facts import describe_model
from lightning_gen.inference import isolated_inference
from lightning_gen.inspection import Findings, Subject
from lightning_gen.inspection.anomaly import anomaly
from lightning_gen.inspection.compress import compress
from lightning_gen.inspection.denoise import denoise
from lightning_gen.inspection.denoising import denoising
from lightning_gen.inspection.inpaint import inpaint
from lightning_gen.inspection.interpolate import interpolate
from lightning_gen.inspection.latent_map import latent_map
from lightning_gen.inspection.manifold import manifold
from lightning_gen.inspection.mix import mix
from lightning_gen.inspection.neighbours import neighbours
from lightning_gen.inspection.network_interpolation import network_interpolation
from lightning_gen.inspection.project import project
from lightning_gen.inspection.reconstruct import reconstruct
from lightning_gen.inspection.translate import translate
from lightning_gen.inspection.traverse import traverse
from lightning_gen.loggers import WandbRunLogger
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.types import SamplingOptions

INSPECTIONS: dict[str, Callable[..., Findings]] = {
    "reconstruct": reconstruct,
    "interpolate": interpolate,
    "traverse": traverse,
    "latent-map": latent_map,
    "manifold": manifold,
    "denoise": denoise,
    "denoising": denoising,
    "inpaint": inpaint,
    "anomaly": anomaly,
    "compress": compress,
    "neighbours": neighbours,
    "network-interpolation": network_interpolation,
    "translate": translate,
    "mix": mix,
    "project": project,
}


@dataclass(frozen=True)
class InspectionOptions:
    """Options of all inspections.

    Attributes:
        ckpt: a checkpoint, or a run's folder (its best checkpoint, else its last).
        out: the folder to write to (default: the folder inspection beside the run's checkpoints).
        root: where the checkpoint's dataset is now, if it has moved.
        seed: seed of everything that is sampled.
        batch_size: number of images per forward pass.
        raw: use the trained weights instead of their moving average.
        device: cpu, cuda, mps ... (default: the best available device).
        wandb: log the findings to the W&B run of the checkpoint's run, if it has one.
    """

    ckpt: Path
    out: Path | None = None
    root: str | None = None
    seed: int = 0
    batch_size: int = 256
    raw: bool = False
    device: str | None = None
    wandb: bool = True


def inspect(args: Sequence[str]) -> None:
    """Run an inspection: ``inspect WHAT --ckpt CKPT [options]``.

    Args:
        args: the inspection's name and the options.
    """
    name, *words = args
    groups = (InspectionOptions, SamplingOptions, TruncationOptions)
    [shared, sampling, truncation], options = parse_options(
        INSPECTIONS[name], f"inspect {name}", words, groups, skip={"subject"}
    )
    run_inspection(name, shared, sampling, truncation, options)


def log_findings(
    logger: WandbRunLogger, findings: Findings, name: str, images_seen: int, files: Sequence[Path], caption: str
) -> None:
    """Log the picture, the animation and the numbers of an inspection.

    Args:
        logger: the logger.
        findings: the findings.
        name: name of the inspection; everything is logged under ``inspect/<name>``.
        images_seen: the progress of the model.
        files: the files of the findings, of which a GIF is logged.
        caption: caption of the picture.
    """
    key = f"inspect/{name}"
    logger.log_image(key, [findings.picture.permute(1, 2, 0).numpy()], step=images_seen, caption=[caption])
    for file in files:
        if file.suffix == ".gif":
            logger.log_animation(f"{key}/animation", file, step=images_seen)
    if findings.numbers:
        logger.log_json(key, findings.numbers)
        logger.log_summary({f"{key}/{path}": value for path, value in flat_numbers(findings.numbers)})


def flat_numbers(numbers: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of nested mappings, each under its path; lists, which have a row per image, are left out.

    Args:
        numbers: measurements by name.
        prefix: begin of each path.

    Yields:
        Path and number.
    """
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            yield from flat_numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", value


def run_inspection(
    name: str,
    shared: InspectionOptions,
    sampling: SamplingOptions,
    truncation: TruncationOptions,
    options: Mapping[str, Any],
) -> None:
    """Load a checkpoint and its data, inspect it, print the findings and save them.

    Args:
        name: a key of ``INSPECTIONS``.
        shared: the options of all inspections.
        sampling: options of iterative sampling.
        truncation: options of style-based generators.
        options: arguments of the inspection.
    """
    check_at_least(0, prefix="--", seed=shared.seed)
    check_at_least(1, prefix="--", batch_size=shared.batch_size)
    if shared.out is not None:
        check_creatable(shared.out)
    checkpoint = find_checkpoint(shared.ckpt)
    data = dataset_of(checkpoint, shared.root)
    model = load_model(checkpoint).to(resolve_device(shared.device))
    model.use_ema = not shared.raw
    set_sampling(model, sampling)
    set_truncation(model, truncation)
    with isolated_inference(model, shared.seed):
        findings = INSPECTIONS[name](Subject(model, data, shared.seed, shared.batch_size), **options)
    caption = f"{describe_model(model, name)}, {data.name}, seed {shared.seed}"
    findings = replace(findings, picture=with_caption(findings.picture, caption))
    run = run_folder_of(checkpoint)
    for line in findings.summary:
        print(line)
    files = findings.save((shared.out or run / "inspection") / f"{checkpoint.stem}_{name}")
    print(*files, sep="\n")
    with wandb_run(run if shared.wandb else None) as logger:
        if logger is not None:
            log_findings(logger, findings, name, model.images_seen, files, checkpoint.stem)
