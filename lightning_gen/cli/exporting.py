"""``export``: write a model to a folder that can be shared."""

from pathlib import Path

from lightning_gen.checks import check_at_least
from lightning_gen.cli.checkpoint_data import dataset_of
from lightning_gen.cli.outputs import check_empty
from lightning_gen.cli.runs import run_folder_of
from lightning_gen.errors import InputError
from lightning_gen.export.folder import score_files_of, write_export
from lightning_gen.models.checkpoint import find_checkpoint, load_model, read_data_options
from lightning_gen.models.exported import WEIGHTS


def export(
    ckpt: Path,
    to: Path,
    raw: bool = False,
    onnx: bool = False,
    seed: int = 0,
    root: str | None = None,
) -> None:
    """Export a model to a folder: weights as safetensors, configuration, score cards, samples and a model card.

    lightning_gen.load, and from_pretrained of the model's class, load the folder; its files are those that the Hugging
    Face Hub expects. See docs/export.md.

    Args:
        ckpt: A checkpoint, or a run's folder (its best checkpoint, otherwise its last).
        to: The folder to write to. It must be empty or not exist.
        raw: Export the trained weights, not their moving average.
        onnx: Write model.onnx, too: the generator, decoder, denoiser or translator, checked against PyTorch.
        seed: Seed of the samples, at least 0.
        root: The folder of the checkpoint's dataset, if it has moved; needed for pictures of translations and
            reconstructions alone.

    Raises:
        InputError: if an argument is invalid, the folder is not empty, or the network cannot be exported to ONNX.
    """
    check_at_least(0, prefix="--", seed=seed)
    check_empty(to, "--to")
    checkpoint = find_checkpoint(ckpt)
    if checkpoint.name == WEIGHTS:
        raise InputError(f"{checkpoint.parent} is exported already; name a checkpoint or a run's folder with --ckpt")
    model = load_model(checkpoint)
    model.use_ema = not raw
    weights = "ema" if model.ema is not None and model.use_ema else "raw"
    options = read_data_options(checkpoint)
    config = write_export(
        model,
        to,
        data=dataset_of(checkpoint, root) if options else None,
        data_options=options,
        score_files=score_files_of(run_folder_of(checkpoint), checkpoint, model.images_seen, weights),
        onnx=onnx,
        seed=seed,
    )
    if onnx:
        differences = config["onnx"]["differences"]
        by_batch = ", ".join(f"{value:.1e} at batch size {num}" for num, value in differences.items())
        print(f"ONNX {config['onnx']['part']}: largest difference from PyTorch {by_batch}")
    print(f"{type(model).__name__} ({weights} weights) in {to}")
