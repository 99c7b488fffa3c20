"""``sample``: generate images from a checkpoint."""

from pathlib import Path

import torch

from lightning_gen.checks import check_at_least
from lightning_gen.cli.devices import resolve_device
from lightning_gen.cli.generation import DEFAULT_SAMPLING, progress_bar, set_sampling
from lightning_gen.cli.outputs import check_empty, free_grid_path
from lightning_gen.cli.truncating import NO_TRUNCATION, TruncationOptions, set_truncation
from lightning_gen.drawing import with_caption
from lightning_gen.errors import InputError
from lightning_gen.evaluation.facts import describe_model
from lightning_gen.images import PICTURE_WIDTH, grid, save_png, to_uint8
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.noise import image_generators
from lightning_gen.types import ImageGenerator, SamplingOptions, Translator

GRID_IMAGES = 1024
"""The largest number of images in the grid."""


def sample(
    ckpt: Path,
    out: Path,
    num: int = 64,
    labels: list[int] | None = None,
    seed: int = 0,
    batch_size: int = 64,
    raw: bool = False,
    device: str | None = None,
    sampling: SamplingOptions = DEFAULT_SAMPLING,
    style_options: TruncationOptions = NO_TRUNCATION,
) -> None:
    """Generate images from a checkpoint, and write them as PNG files, and a grid of them beside the folder.

    Image i depends on the seed, i and its class label alone, not on the number of images or the batch size. The folder
    contains nothing but the images, so that evaluate --generated takes it; the grid of --out DIR, of the first 1,024
    images, is DIR_grid.png.

    Args:
        ckpt: A checkpoint, or a run's folder (its best checkpoint, otherwise its last).
        out: The folder to write to. It must be empty or not exist.
        num: Number of images.
        labels: Classes to generate, in turn, such as 3 7. For conditional models only. Default: random classes.
        seed: Seed of the noise, at least 0.
        batch_size: Number of images generated at once.
        raw: Use the trained weights, not their moving average.
        device: cpu, cuda, mps, ... Default: the accelerator if there is one, otherwise the CPU.
        sampling: Options of iterative generation.
        style_options: Options of style-based generators.

    Raises:
        InputError: if an argument is invalid, the model does not support it, the folder is not empty, or the grid's
            file exists.
    """
    check_at_least(0, prefix="--", seed=seed)
    if labels == []:
        raise InputError("--labels is empty; name the classes to generate, or leave it out")
    check_at_least(1, prefix="--", num=num, batch_size=batch_size)
    check_empty(out)
    grid_path = free_grid_path(out)
    model = load_model(find_checkpoint(ckpt)).to(resolve_device(device))
    if isinstance(model, Translator) and not isinstance(model, ImageGenerator):
        raise InputError(f"{type(model).__name__} makes images from images, not from noise; use translate")
    if not isinstance(model, ImageGenerator):
        raise InputError(f"{type(model).__name__} cannot generate images; score its reconstructions with evaluate")
    if labels is not None and model.num_classes and not all(0 <= label < model.num_classes for label in labels):
        raise InputError(f"--labels is {labels}; the classes of this model are 0 to {model.num_classes - 1}")
    set_sampling(model, sampling)
    set_truncation(model, style_options)
    model.use_ema = not raw
    classes = torch.tensor(labels).repeat(-(-num // len(labels)))[:num].to(model.device) if labels else None
    batches = []
    with progress_bar(model, num):
        for start in range(0, num, batch_size):
            indices = range(start, min(start + batch_size, num))
            batch_labels = classes[start : indices.stop] if classes is not None else None
            samples = model.sample(len(indices), labels=batch_labels, generator=image_generators(seed, indices))
            images = to_uint8(samples).cpu()
            for index, image in zip(indices, images, strict=True):
                save_png(image, out / f"{index:06d}.png")
            if start < GRID_IMAGES:
                batches.append(images)
    picture = grid(torch.cat(batches)[:GRID_IMAGES], min_width=PICTURE_WIDTH)
    save_png(with_caption(picture, f"{describe_model(model, 'samples')}, seed {seed}"), grid_path)
    print(f"{num} images in {out}, and a grid of them in {grid_path}")
