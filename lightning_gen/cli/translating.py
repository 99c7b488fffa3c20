"""``translate``: apply a model that makes images from images to image files of any size."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import UInt8
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.cli.devices import resolve_device
from lightning_gen.cli.generation import DEFAULT_SAMPLING, image_bar, reporting, set_sampling
from lightning_gen.cli.outputs import check_empty
from lightning_gen.data.decode import decode_with_alpha, open_image
from lightning_gen.data.files import FileTree, open_images
from lightning_gen.data.packing import OnCorrupt
from lightning_gen.errors import InputError
from lightning_gen.images import save_png, to_float, to_uint8
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.models.translator import ImageTranslation
from lightning_gen.noise import image_generators
from lightning_gen.resize import bicubic_upscale
from lightning_gen.tiling import translate_tiles
from lightning_gen.types import SamplingOptions, StoredImages, TwoWayTranslator

StoredInputs = UInt8[Tensor, "batch input_channels input_height input_width"]
Alpha = UInt8[Tensor, "batch 1 input_height input_width"]
StoredPixels = UInt8[Tensor, "batch channels_and_alpha height width"]


def translate(
    ckpt: Path,
    input: Path,
    out: Path,
    tile: int | None = None,
    overlap: int | None = None,
    back: bool = False,
    on_corrupt: OnCorrupt = "raise",
    seed: int = 0,
    raw: bool = False,
    device: str | None = None,
    sampling: SamplingOptions = DEFAULT_SAMPLING,
) -> None:
    """Translate image files of any size, or enlarge them, and write the results as PNG files.

    Files keep their sub-folders and their names without the ending; two files whose results would have the same name
    keep the ending as well. Images are converted to the channels of the model's inputs: colour to luma, or grey to RGB.
    An alpha channel is kept: the colours under it are translated as if they were opaque, and it is enlarged with the
    image. Translation i depends on the file, the seed and, for a model that draws noise, the file's position in the
    sorted list.

    Args:
        ckpt: A checkpoint, or a run's folder (its best checkpoint, otherwise its last).
        input: An image file, a folder, or a zip archive of images.
        out: The folder to write to. It must be empty or not exist.
        tile: Translate in tiles of this many input pixels a side, to bound the memory. Default: whole images.
        overlap: Input pixels by which tiles exceed the part that is kept. Default: the distance at which a pixel still
            depends on another, so that tiles do not change the result. A model whose pixels depend on the whole image
            (instance norm, attention) has no such distance: with a number given here, seams may show.
        back: Translate images of the second domain to the first, for models of both directions.
        on_corrupt: Stop before the first translation if a file is not an image (raise), or leave it out with a
            warning (skip).
        seed: Seed of the noise, at least 0.
        raw: Use the trained weights, not their moving average.
        device: cpu, cuda, mps, ... Default: the accelerator if there is one, otherwise the CPU.
        sampling: Options of iterative generation.

    Raises:
        InputError: if an argument is invalid, the model does not support it, a file is not an image, or the folder is
            not empty.
    """
    check_at_least(0, prefix="--", seed=seed, overlap=overlap)
    check_at_least(1, prefix="--", tile=tile)
    check_empty(out)
    tree, names = open_images(input)
    model = load_model(find_checkpoint(ckpt)).to(resolve_device(device))
    if not isinstance(model, ImageTranslation):
        raise InputError(
            f"{type(model).__name__} makes no images from images; generate images with sample, or reconstruct images "
            "with inspect reconstruct"
        )
    if back and not isinstance(model, TwoWayTranslator):
        raise InputError(f"--back is for models of both directions; {type(model).__name__} has one")
    set_sampling(model, sampling)
    model.use_ema = not raw
    overlap = resolve_overlap(model, tile, overlap)
    channels = (model.image_shape if back else model.input_shape)[0]
    indices = readable_indices(tree, names, on_corrupt)
    targets = output_names([names[index] for index in indices])
    with image_bar("translating", len(indices)) as advance, reporting(model, None if tile else advance) as reports:
        for index, target in zip(indices, targets, strict=True):
            pixels, alpha = read_image(tree, names[index], channels)
            try:
                images = translate_tiles(
                    partial(translate_stored, model, back, image_generators(seed, [index])),
                    pixels,
                    tile=tile or max(pixels.shape[-2:]),
                    overlap=overlap,
                    scale=model.scale,
                    multiple=model.input_multiple,
                    progress=None if reports and not tile else advance,
                )
            except torch.OutOfMemoryError:
                height, width = pixels.shape[-2:]
                advice = "set a smaller --tile" if tile else "set --tile, such as --tile 256"
                raise InputError(
                    f"{names[index]}, {width}x{height} pixels, does not fit in the memory of {model.device}; {advice}"
                ) from None
            save_png(with_alpha(images, alpha, model.scale)[0], out / target)
    print(f"{len(indices)} images in {out}")


def translate_stored(
    model: ImageTranslation, back: bool, generators: Sequence[torch.Generator], images: StoredInputs
) -> StoredImages:
    """Translate stored images on the CPU to stored images on the CPU.

    Args:
        model: the model; its device computes.
        back: use ``translate_back``.
        generators: one generator per image.
        images: uint8 images.

    Returns:
        uint8 images.
    """
    inputs = to_float(images.to(model.device))
    if back and isinstance(model, TwoWayTranslator):
        return to_uint8(model.translate_back(inputs, generator=generators)).cpu()
    return to_uint8(model.translate(inputs, generator=generators)).cpu()


def resolve_overlap(model: ImageTranslation, tile: int | None, overlap: int | None) -> int:
    """The overlap of tiles: the given one, or the model's context.

    Args:
        model: the model.
        tile: side of a tile; None for whole images.
        overlap: the value of ``--overlap``.

    Returns:
        The overlap in input pixels; 0 for whole images.

    Raises:
        InputError: for an overlap without tiles, and for tiles without overlap of a model whose context is the image.
    """
    if tile is None:
        if overlap is not None:
            raise InputError("--overlap is an option of tiles; set --tile, too")
        return 0
    if overlap is None and model.context is None:
        raise InputError(
            f"--tile changes the result of {type(model).__name__}, whose pixels depend on the whole image; leave it "
            "out, or set --overlap to a number of pixels and accept seams"
        )
    return model.context or 0 if overlap is None else overlap


def readable_indices(tree: FileTree, names: Sequence[str], on_corrupt: OnCorrupt) -> list[int]:
    """Decode every file once, so that a file that is not an image stops the command before hours of work.

    Args:
        tree: the files.
        names: their names.
        on_corrupt: ``raise`` for a file that cannot be decoded, or ``skip`` it with a warning.

    Returns:
        The indices of the files that can be decoded.

    Raises:
        InputError: for a file that cannot be decoded, and if none can.
    """
    indices = []
    for index, name in enumerate(names):
        try:
            read_image(tree, name, channels=1)
        except Exception as error:  # decoders raise many types
            if on_corrupt == "raise":
                raise InputError(
                    f"{tree.path / name} cannot be decoded ({error}); repair or remove it, or set --on_corrupt skip"
                ) from None
            rank_zero_warn(f"{tree.path / name} cannot be decoded ({error}) and is left out")
        else:
            indices.append(index)
    if not indices:
        raise InputError(f"none of the {len(names)} files in {tree.path} is an image")
    return indices


def read_image(tree: FileTree, name: str, channels: int) -> tuple[StoredInputs, Alpha | None]:
    """Read an image file.

    Args:
        tree: the files.
        name: the file's name.
        channels: 1 or 3.

    Returns:
        A batch of one image, and of its alpha channel if it has one.
    """
    with open_image(tree.read(name)) as image:
        pixels, alpha = decode_with_alpha(image, channels)
    return torch.tensor(pixels)[None], None if alpha is None else torch.tensor(alpha)[None]


def with_alpha(images: StoredImages, alpha: Alpha | None, scale: int) -> UInt8[Tensor, "batch pixels height width"]:
    """Append an alpha channel, enlarged bicubically, to images.

    Args:
        images: uint8 images.
        alpha: uint8 ``(batch, 1, height / scale, width / scale)``, or None.
        scale: how many times larger the images are.

    Returns:
        The images, with one more channel if ``alpha`` is given.
    """
    if alpha is None:
        return images
    enlarged = alpha if scale == 1 else to_uint8(bicubic_upscale(to_float(alpha), scale))
    return torch.cat([images, enlarged], dim=1)


def output_names(names: Sequence[str]) -> list[str]:
    """The name of the PNG file that is written for each file.

    Args:
        names: relative names with forward slashes.

    Returns:
        The names with their endings replaced; where two results would have the same name, also on file systems that
        ignore case, with the endings kept.

    Raises:
        InputError: if two results would have the same name nevertheless.
    """
    paths = [PurePosixPath(name.lstrip("/")) for name in names]
    stems = [path.with_suffix("").as_posix() for path in paths]
    uses = Counter(stem.casefold() for stem in stems)
    targets = [f"{stem if uses[stem.casefold()] == 1 else path}.png" for path, stem in zip(paths, stems, strict=True)]
    taken = Counter(target.casefold() for target in targets)
    for name, target in zip(names, targets, strict=True):
        if taken[target.casefold()] > 1:
            raise InputError(f"{name} and another file would both be written as {target}; rename one of them")
    return targets
