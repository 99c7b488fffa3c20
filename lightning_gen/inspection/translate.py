"""Translations of images to another domain, and super-resolution."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.evaluation import describe_sampling
from lightning_gen.images import match_shapes, to_float, to_uint8
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.subject import Subject
from lightning_gen.losses.image_quality import mse, psnr
from lightning_gen.noise import image_generators, mix_seed
from lightning_gen.types import (
    Images,
    ImageSet,
    IterativeModel,
    PairSource,
    StoredImages,
    Translator,
    TwoWayTranslator,
)

Translate = Callable[..., Images]
StoredInputs = UInt8[Tensor, "batch input_channels input_height input_width"]


class Direction(NamedTuple):
    """A direction of translation.

    Attributes:
        translate: the map.
        reverse: the map in the other direction; None for a translator of one direction.
        sources: images to translate.
        targets: images of the other domain.
        paired: whether target i is the partner of source i.
    """

    translate: Translate
    reverse: Translate | None
    sources: ImageSet
    targets: ImageSet
    paired: bool


def translate(
    subject: Subject,
    num: int = 8,
    split: Literal["train", "val", "test"] = "test",
    draws: int = 1,
    back: bool = False,
) -> Findings:
    """Translate images, and measure the translations where the images are paired.

    A model that draws noise, such as SR3, can translate each image several times; the standard deviation of a pixel
    over the draws shows what the input leaves open. ``evaluate`` scores the translations of a whole split.

    Args:
        subject: model and data.
        num: number of images, from the start of the split.
        split: the split.
        draws: number of translations of each image.
        back: translate the images of the second domain to the first, with a model of both directions.

    Returns:
        One column per image: the input, its translations, their standard deviation if there are several, the
        translation of the first back to the input's domain for a model of both directions, and the target for pairs;
        the PSNR of each translation in dB for pairs, of each image translated there and back, and the standard
        deviation of a pixel in [0, 1].

    Raises:
        InputError: if the model translates no images, or not in this direction, or the data has no inputs.
    """
    check_at_least(1, prefix="--", num=num, draws=draws)
    direction = make_direction(subject, split, back)
    sources = direction.sources[:num]
    num = len(sources)
    drawn = torch.stack([apply(subject, direction.translate, sources, f"draw {i}") for i in range(draws)])
    rows = {"input": sources}
    rows |= {f"draw {i + 1}" if draws > 1 else "translation": images for i, images in enumerate(drawn)}
    numbers: dict[str, Any] = {"num": num, "split": split, "draws": draws, "back": back, "paired": direction.paired}
    summary = [f"{num} images of {split} translated {'back ' if back else ''}by {describe(subject)}"]
    heads = [f"{i}" for i in range(num)]
    if draws > 1:
        deviation = drawn.double().div(255).std(0)
        highest = deviation.max().item()
        rows[f"std, at most {highest:.2f}"] = (deviation / max(highest, 1e-9) * 255).round().to(torch.uint8)
        numbers["std"] = deviation.flatten(1).square().mean(1).sqrt().tolist()
        summary.append(f"standard deviation of a pixel over {draws} draws {deviation.square().mean().sqrt():.4f}")
    if direction.reverse is not None:
        rows["and back"] = apply(subject, direction.reverse, drawn[0], "back")
        numbers["psnr_cycle"] = psnr_per_image(rows["and back"], sources).tolist()
        summary.append(f"PSNR of the images translated there and back {mean(numbers['psnr_cycle']):.2f} dB")
    if direction.paired:
        rows["target"] = direction.targets[:num]
        ratios = torch.stack([psnr_per_image(images, rows["target"]) for images in drawn])
        numbers["psnr"] = ratios.tolist() if draws > 1 else ratios[0].tolist()
        heads = [f"{ratio:.1f} dB" for ratio in ratios.mean(0)]
        summary.append(f"PSNR {ratios.mean():.2f} dB, from {ratios.min():.2f} to {ratios.max():.2f} dB")
    blocks = [[strip(image[None]) for image in images] for images in match_shapes(list(rows.values()))]
    return Findings(table(blocks, list(rows), heads), numbers, summary=tuple(summary))


def make_direction(subject: Subject, split: str, back: bool) -> Direction:
    """The maps and the images of a split, in the direction of the translator or in the other.

    Args:
        subject: model and data.
        split: the split.
        back: whether to translate images of the second domain.

    Returns:
        The direction.

    Raises:
        InputError: if the model translates no images, or not in this direction, or the data has no inputs.
    """
    model = subject.model
    subject.require(Translator, "translates no images")
    both = isinstance(model, TwoWayTranslator)
    if back and not both:
        raise InputError(f"{subject.name} translates in one direction; leave out --back")
    pairs = subject.data.pair_set(split) if isinstance(subject.data, PairSource) else None
    if pairs is None:
        raise InputError(f"the data of this {subject.name} has no inputs to translate; set data.inputs")
    if back:
        return Direction(model.translate_back, model.translate, pairs.images, pairs.inputs, pairs.paired)
    return Direction(model.translate, model.translate_back if both else None, pairs.inputs, pairs.images, pairs.paired)


def apply(subject: Subject, translate: Translate, images: StoredInputs, purpose: str) -> StoredImages:
    """Translate stored images in batches; the noise of image i is a function of (seed, purpose, i).

    Args:
        subject: the model, the seed and the batch size.
        translate: the map.
        images: images to translate.
        purpose: a word that separates several translations of one image.

    Returns:
        uint8 images on the CPU.
    """
    seed, parts = mix_seed(subject.seed, purpose), []
    for start in range(0, len(images), subject.batch_size):
        part = to_float(images[start : start + subject.batch_size].to(subject.model.device))
        generators = image_generators(seed, range(start, start + len(part)))
        parts.append(to_uint8(translate(part, generator=generators)).cpu())
    return torch.cat(parts)


def psnr_per_image(images: StoredImages, targets: StoredImages) -> Float64[Tensor, " batch"]:
    """PSNR of each image in dB, over all channels."""
    return psnr(mse(images, targets, "image"))


def mean(values: list[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def describe(subject: Subject) -> str:
    """The model's class and, for an iterative model, the options of sampling."""
    if isinstance(subject.model, IterativeModel):
        return f"{subject.name}, {describe_sampling(subject.model.sampling)}"
    return subject.name
