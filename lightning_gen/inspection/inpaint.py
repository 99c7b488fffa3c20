"""Inpainting of images by a diffusion model or flow."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.diffusion.inpainting import Mask, repaint
from lightning_gen.errors import InputError
from lightning_gen.evaluation import describe_sampling
from lightning_gen.images import to_uint8
from lightning_gen.inspection.denoising import DenoisingModel, noise_source, sampling_settings, sampling_timesteps
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.subject import Subject
from lightning_gen.losses.image_quality import psnr
from lightning_gen.noise import image_generators, mix_seed
from lightning_gen.types import Batch, ImageShape, StoredImages

Region = Literal["centre", "left", "right", "top", "bottom", "box", "random"]
DEFAULT_SHARES: dict[Region, float] = {"centre": 0.25, "box": 0.25}
"""Default fraction of unknown pixels; a half for the other regions."""


def known_pixels(
    region: Region, share: float | None, image_shape: ImageShape, generators: Sequence[torch.Generator]
) -> Mask:
    """Masks of the known pixels.

    Args:
        region: the unknown pixels: a rectangle in the centre or anywhere (``box``), with the image's proportions; the
            left, right, upper or lower part; or single pixels (``random``).
        share: approximate fraction of unknown pixels, in (0, 1); None for the default of the region.
        image_shape: (channels, height, width).
        generators: one per image, for the position of a box or the single pixels.

    Returns:
        The masks, on the CPU.

    Raises:
        InputError: if the share is out of range, or no pixel or every pixel is unknown.
    """
    share = DEFAULT_SHARES.get(region, 0.5) if share is None else share
    if not 0 < share < 1:
        raise InputError(f"--share is {share:g}; it is the fraction of unknown pixels and must lie between 0 and 1")
    _, height, width = image_shape
    unknown = torch.zeros(len(generators), 1, height, width, dtype=torch.bool)
    side = math.sqrt(share)
    rows, columns = round(side * height), round(side * width)
    if region == "left":
        unknown[..., : round(share * width)] = True
    elif region == "right":
        unknown[..., width - round(share * width) :] = True
    elif region == "top":
        unknown[..., : round(share * height), :] = True
    elif region == "bottom":
        unknown[..., height - round(share * height) :, :] = True
    elif region == "random":
        for one, generator in zip(unknown, generators, strict=True):
            one.flatten()[torch.randperm(one.numel(), generator=generator)[: round(share * one.numel())]] = True
    else:
        for one, generator in zip(unknown, generators, strict=True):
            top, left = (height - rows) // 2, (width - columns) // 2
            if region == "box":
                top = int(torch.randint(height - rows + 1, (), generator=generator))
                left = int(torch.randint(width - columns + 1, (), generator=generator))
            one[:, top : top + rows, left : left + columns] = True
    if not unknown.any() or unknown.all():
        pixels = "no pixel" if not unknown.any() else "every pixel"
        raise InputError(f"--share {share:g} of {height} x {width} pixels makes {pixels} unknown; use another")
    return ~unknown


DEFAULT_SEGMENTS = 25
"""By default a jump is a 25th of the steps, like 10 of 250 steps in the paper."""
HOLE_GREY = 128


def inpaint(
    subject: Subject,
    mask: Region = "centre",
    share: float | None = None,
    resamples: int = 10,
    jump: int | None = None,
    draws: int = 2,
    num: int = 64,
    shown: int = 12,
    split: Literal["train", "val", "test"] = "test",
) -> Findings:
    """Inpaint images by RePaint (Lugmayr et al. 2022, https://arxiv.org/abs/2201.09865, algorithm 1).

    After each step the known pixels are replaced by their noisy version, and each segment of the trajectory is repeated
    ``resamples`` times, so that the hole becomes consistent with its surroundings.

    Args:
        subject: model and data.
        mask: the unknown pixels: a rectangle in the centre or anywhere (box), the left, right, upper or lower part, or
            single pixels (random).
        share: fraction of unknown pixels, between 0 and 1 (default: a quarter for centre and box, else a half).
        resamples: number of times that each segment is denoised; 1 for no resampling.
        jump: number of steps of a segment (default: a 25th of the steps).
        draws: number of inpainted versions of each image.
        num: number of images, from the start of the split.
        shown: number of images in the picture.
        split: the split; a conditional model receives the images' labels.

    Returns:
        Rows of originals, images with the hole, and inpainted images; PSNR of the unknown pixels in dB, for the
        inpainted images and for the mean colour of the known pixels; and, for several draws, the standard deviation of
        an unknown pixel in [0, 1].

    Raises:
        InputError: if the model is not iterative, or an option is out of range.
    """
    check_at_least(1, prefix="--", draws=draws, num=num, shown=shown)
    subject.require(DenoisingModel, "does not generate images iteratively, and cannot inpaint")
    model = subject.model
    jump = max(1, round((len(sampling_timesteps(model)) - 1) / DEFAULT_SEGMENTS)) if jump is None else jump
    images = subject.data.image_set(split)
    num = min(num, len(images))
    truth = images[:num]
    known = known_pixels(mask, share, model.image_shape, image_generators(mix_seed(subject.seed, "hole"), range(num)))
    parts = []
    for start in range(0, num, subject.batch_size):
        indices = range(start, min(start + subject.batch_size, num))
        batch, batch_mask = subject.batch(images, indices), known[start : indices.stop].to(model.device)
        parts.append(
            torch.stack(
                [inpaint_batch(subject, batch, batch_mask, indices, draw, jump, resamples) for draw in range(draws)]
            )
        )
    inpainted = torch.cat(parts, 1)  # (draws, N, C, H, W)
    unknown = ~known.expand_as(truth)
    baseline = torch.stack([masked_error(mean_colour(truth, known), truth, unknown)])
    errors = torch.stack([masked_error(sample.double(), truth, unknown) for sample in inpainted])
    numbers: dict[str, Any] = {
        "num": num,
        "split": split,
        "mask": mask,
        "unknown": unknown.double().mean().item(),
        "resamples": resamples,
        "jump": jump,
        **sampling_settings(model),
        "psnr_mean_colour": psnr(baseline.mean().item()),
        "psnr_inpainted": psnr(errors.mean().item()),
    }
    if draws > 1:
        numbers["spread"] = inpainted.double().div(255).var(0)[unknown].mean().sqrt().item()
    rows = {"original": truth, "known": torch.where(known, truth, HOLE_GREY)}
    rows |= {f"draw {draw + 1}": sample for draw, sample in enumerate(inpainted)}
    return Findings(
        table([[strip(row[:shown])] for row in rows.values()], list(rows)),
        numbers,
        summary=(
            f"{numbers['unknown']:.0%} of each of {num} images of {split} inpainted by "
            f"{describe_sampling(model.sampling)}, jump {jump}, resamples {resamples}",
            f"PSNR of the unknown pixels {numbers['psnr_inpainted']:.2f} dB, of the mean colour "
            f"{numbers['psnr_mean_colour']:.2f} dB",
        ),
    )


def inpaint_batch(
    subject: Subject, batch: Batch, known: Mask, indices: range, draw: int, jump: int, resamples: int
) -> StoredImages:
    """Inpaint images.

    Args:
        subject: a ``DenoisingModel``.
        batch: images and labels.
        known: masks of the known pixels.
        indices: indices of the images.
        draw: index of the version, which selects the noise.
        jump: number of steps of a segment.
        resamples: number of times that each segment is denoised.

    Returns:
        uint8 images on the CPU, with known pixels unchanged.

    Raises:
        InputError: if the sampler is adaptive, or ``jump`` or ``resamples`` is out of range.
    """
    model, noise = subject.model, noise_source(subject, indices, f"draw {draw}")
    steps = sampling_timesteps(model)
    with model.sampler(model.class_rows(batch.labels, len(indices)), noise) as sampler:
        noisy = steps[0].sigma * noise()
        images = repaint(sampler, batch.images, known, noisy, [step.time for step in steps], jump, resamples)
    return to_uint8(images).cpu()


def mean_colour(images: StoredImages, known: Mask) -> Float64[Tensor, "batch channels 1 1"]:
    """Mean of the known pixels of each image, in [0, 255]."""
    return (images.double() * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)


def masked_error(
    images: Float64[Tensor, "batch channels _ _"], truth: StoredImages, unknown: Bool[Tensor, "batch channels _ _"]
) -> Float64[Tensor, ""]:
    """Mean squared error of the unknown pixels, in [0, 1]."""
    return (images - truth).div(255).square()[unknown].mean()
