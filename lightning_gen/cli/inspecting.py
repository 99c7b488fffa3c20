"""``inspect``: look into a checkpoint, and write pictures and numbers."""

import inspect as signatures
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning_gen.checks import check_at_least
from lightning_gen.cli.devices import resolve_device
from lightning_gen.cli.generation import DEFAULT_SAMPLING, set_sampling
from lightning_gen.cli.parsing import run_function
from lightning_gen.cli.runs import run_folder_of
from lightning_gen.cli.scoring import dataset_of
from lightning_gen.errors import InputError
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
from lightning_gen.inspection.neighbours import neighbours
from lightning_gen.inspection.reconstruct import reconstruct
from lightning_gen.inspection.traverse import traverse
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.types import Sampling

PATHS = ("--ckpt", "--out", "--root")
"""Options whose value may be called as an inspection is."""
SHARED = """\
ckpt: a checkpoint, or a run's folder (its best checkpoint, else its last).
    out: the folder to write to; by default the folder inspection beside the run's checkpoints.
    root: where the checkpoint's dataset lies now, if it has moved.
    seed: of whatever is drawn.
    batch_size: images that pass through the model at once.
    raw: look at the trained weights and not at their moving average.
    device: cpu, cuda, mps ...; the best there is when not given.
    sampling: how a model that draws step by step should draw."""
"""The documentation of the options that all inspections share, which stands in for that of their subject."""
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
}


def inspect(args: Sequence[str]) -> None:
    """Run an inspection: ``inspect --ckpt CKPT WHAT [options]``.

    Args:
        args: the command's words, the inspection's name anywhere among them.

    Raises:
        InputError: when no inspection is named.
    """
    words = list(args)
    names = [i for i, word in enumerate(words) if word in INSPECTIONS and (i == 0 or words[i - 1] not in PATHS)]
    if not names and {"-h", "--help"} & {*words}:
        print(f"usage: python -m lightning_gen inspect WHAT --ckpt CKPT [--help] ...\nWHAT: {', '.join(INSPECTIONS)}")
        return
    if not names:
        raise InputError(f"name what to inspect, one of {', '.join(INSPECTIONS)}: inspect --ckpt CKPT WHAT [options]")
    name = words.pop(names[0])
    run_function(command(name, INSPECTIONS[name]), f"inspect {name}", words)


def command(name: str, inspection: Callable[..., Findings]) -> Callable[..., None]:
    """Make an inspection a command, with the options that all share.

    Args:
        name: the inspection's name.
        inspection: the inspection.

    Returns:
        A function whose signature has the shared options and the inspection's own.
    """

    def run(
        ckpt: Path,
        out: Path | None = None,
        root: str | None = None,
        seed: int = 0,
        batch_size: int = 256,
        raw: bool = False,
        device: str | None = None,
        sampling: Sampling = DEFAULT_SAMPLING,
        **options: Any,
    ) -> None:
        check_at_least(0, prefix="--", seed=seed)
        if batch_size < 1:
            raise InputError(f"--batch_size is {batch_size}; it must be at least 1")
        checkpoint = find_checkpoint(ckpt)
        data = dataset_of(checkpoint, root)
        model = load_model(checkpoint).to(resolve_device(device))
        model.use_ema = not raw
        set_sampling(model, sampling)
        with isolated_inference(model, seed):
            findings = inspection(Subject(model, data, seed, batch_size), **options)
        folder = out or run_folder_of(checkpoint) / "inspection"
        for line in findings.summary:
            print(line)
        print(*findings.save(folder / f"{checkpoint.stem}_{name}"), sep="\n")

    shared = [p for p in signatures.signature(run).parameters.values() if p.kind is not p.VAR_KEYWORD]
    own = [p for p in signatures.signature(inspection).parameters.values() if p.name != "subject"]
    run.__signature__ = signatures.Signature([*shared, *own])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*shared, *own]}
    run.__doc__ = (signatures.getdoc(inspection) or "").replace("subject: model and data.", SHARED)
    return run
