"""Draw images from a checkpoint."""

from pathlib import Path

import torch

from lightning_gen.cli.drawing import MODELS_CHOICE, ask, progress
from lightning_gen.cli.runs import check_seed, usable
from lightning_gen.errors import InputError
from lightning_gen.images import grid, save_png, to_uint8
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.noise import image_generators
from lightning_gen.types import ImageGenerator, SamplingOptions


def sample(
    ckpt: Path,
    out: Path,
    num: int = 64,
    labels: list[int] | None = None,
    seed: int = 0,
    batch_size: int = 64,
    raw: bool = False,
    device: str | None = None,
    sampling: SamplingOptions = MODELS_CHOICE,
) -> None:
    """Write samples of a checkpoint as PNG files, and one grid of them all.

    Image i is a function of (seed, i) and its label, whatever the number of images and the batch size.

    Args:
        ckpt: a checkpoint, or a run's folder (its best checkpoint, else its last).
        out: the folder to write to; it must be empty or not exist.
        num: number of images.
        labels: classes to draw, taken in turn; only for conditional models.
        seed: seed of the noise.
        batch_size: images that are drawn at once.
        raw: sample with the trained weights and not with their moving average.
        device: cpu, cuda, mps ...; the best there is when not given.
        sampling: how a model that draws step by step should draw.

    Raises:
        InputError: when an argument is of no use for this checkpoint, or the folder is not empty.
    """
    check_seed(seed)
    if labels == []:
        raise InputError("--labels is empty; name the classes to draw, or leave it out")
    if num < 1 or batch_size < 1:
        raise InputError(f"--num is {num} and --batch_size {batch_size}; both must be at least 1")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty, and nothing in it is overwritten; name another folder with --out")
    model = load_model(find_checkpoint(ckpt)).to(usable(device))
    if not isinstance(model, ImageGenerator):
        raise InputError(f"{type(model).__name__} cannot draw samples; it can be scored by its reconstructions")
    if labels is not None and model.num_classes and not all(0 <= label < model.num_classes for label in labels):
        raise InputError(f"--labels {labels}: the classes of this model are 0 to {model.num_classes - 1}")
    ask(model, sampling)
    model.use_ema = not raw
    wanted = torch.tensor(labels).repeat(-(-num // len(labels)))[:num].to(model.device) if labels else None
    drawn = []
    with progress(model, num):
        for start in range(0, num, batch_size):
            indices = range(start, min(start + batch_size, num))
            part = wanted[start : indices.stop] if wanted is not None else None
            images = to_uint8(model.sample(len(indices), labels=part, generator=image_generators(seed, indices))).cpu()
            for index, image in zip(indices, images, strict=True):
                save_png(image, out / f"{index:06d}.png")
            drawn.append(images)
    save_png(grid(torch.cat(drawn)), out / "grid.png")
    print(f"{num} images and grid.png in {out}")
