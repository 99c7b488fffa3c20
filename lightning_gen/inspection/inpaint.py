"""Images with a hole, and what the model puts there."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from lightning_gen.diffusion.inpainting import Mask, repaint
from lightning_gen.errors import InputError
from lightning_gen.evaluation import describe_sampling
from lightning_gen.images import to_uint8
from lightning_gen.inspection.denoising import StepwiseModel, make_timesteps, noise_for, settings_of
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.subject import Subject, at_least
from lightning_gen.losses.image_quality import psnr
from lightning_gen.noise import image_generators, mix_seed
from lightning_gen.types import Batch, ImageShape, StoredImages

Region = Literal["centre", "left", "right", "top", "bottom", "box", "random"]
SHARES: dict[Region, float] = {"centre": 0.25, "box": 0.25}
"""What part of an image is unknown where nothing is said; a half of the others."""


def known_pixels(
    region: Region, share: float | None, image_shape: ImageShape, generators: Sequence[torch.Generator]
) -> Mask:
    """Choose the pixels that are known; at least one of them is, and one is not.

    Args:
        region: which are unknown: a rectangle in the centre or anywhere (``box``), with the image's proportions; the
            left, right, upper or lower part; or single pixels (``random``).
        share: about what part of the pixels is unknown, in (0, 1); that of ``SHARES``, or a half, when None.
        image_shape: (channels, height, width).
        generators: one for each image, which chooses a box's place, or the pixels.

    Returns:
        Where they are, on the CPU.

    Raises:
        InputError: when the share is out of range, or leaves no pixel or all.
    """
    share = SHARES.get(region, 0.5) if share is None else share
    if not 0 < share < 1:
        raise InputError(f"--share is {share:g}; it must lie between 0 and 1: the part of the image that is unknown")
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
        raise InputError(f"--share {share:g} of {height} x {width} pixels makes {pixels} unknown; take another")
    return ~unknown


JUMPS = 25
"""A jump is a 25th of the way where nothing is said, as the paper's 10 of 250 steps."""
HOLE = 128


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
    """Fill holes in images by RePaint (Lugmayr et al. 2022, https://arxiv.org/abs/2201.09865, algorithm 1).

    After each step the known pixels are put back, with noise; and each stretch of the way is walked several times, so
    that the hole comes to go with what is around it. That takes ``resamples`` times the sampler's steps.

    Args:
        subject: model and data.
        mask: what is unknown: a rectangle in the centre or anywhere (box), the left, right, upper or lower part, or
            single pixels (random).
        share: what part of the image that is, between 0 and 1; a quarter for centre and box, or else a half, when not
            given.
        resamples: how often each stretch is walked; 1 is once, without going back.
        jump: steps of a stretch; a 25th of the steps when not given.
        draws: how often each image is filled.
        num: how many images are filled and measured, the first of the split.
        shown: how many of them the picture has.
        split: the split; a conditional model is told its images' classes.

    Returns:
        Originals, images with the hole, and draws in rows; PSNR of the unknown pixels in dB, of the draws and of the
        mean colour of an image's known pixels in their place; and, of several draws, how they differ (standard
        deviation of an unknown pixel in [0, 1]).

    Raises:
        InputError: when the model does not draw step by step, or there is no such hole.
    """
    at_least(1, draws=draws, num=num, shown=shown)
    subject.need(StepwiseModel, "does not draw step by step, so that it cannot fill a hole")
    model = subject.model
    jump = max(1, round((len(make_timesteps(model)) - 1) / JUMPS)) if jump is None else jump
    images = subject.data.image_set(split)
    num = min(num, len(images))
    truth = images[:num]
    known = known_pixels(mask, share, model.image_shape, image_generators(mix_seed(subject.seed, "hole"), range(num)))
    parts = []
    for start in range(0, num, subject.batch_size):
        indices = range(start, min(start + subject.batch_size, num))
        batch, own = subject.batch(images, indices), known[start : indices.stop].to(model.device)
        parts.append(
            torch.stack([filled(subject, batch, own, indices, draw, jump, resamples) for draw in range(draws)])
        )
    found = torch.cat(parts, 1)  # (draws, N, C, H, W)
    unknown = ~known.expand_as(truth)
    trivial = torch.stack([error_of(mean_colour(truth, known), truth, unknown)])
    errors = torch.stack([error_of(drawn.double(), truth, unknown) for drawn in found])
    numbers: dict[str, Any] = {
        "num": num,
        "split": split,
        "mask": mask,
        "unknown": unknown.double().mean().item(),
        "resamples": resamples,
        "jump": jump,
        **settings_of(model),
        "psnr_mean_colour": psnr(trivial.mean().item()),
        "psnr_inpainted": psnr(errors.mean().item()),
    }
    if draws > 1:
        numbers["spread"] = found.double().div(255).var(0)[unknown].mean().sqrt().item()
    rows = {"original": truth, "known": torch.where(known, truth, HOLE)}
    rows |= {f"draw {draw + 1}": drawn for draw, drawn in enumerate(found)}
    return Findings(
        table([[strip(row[:shown])] for row in rows.values()], list(rows)),
        numbers,
        summary=(
            f"{numbers['unknown']:.0%} of each of {num} images of {split} filled by "
            f"{describe_sampling(model.sampling)}; stretches of {jump}, {resamples} times each",
            f"PSNR of the unknown pixels {numbers['psnr_inpainted']:.2f} dB, of the mean colour in their place "
            f"{numbers['psnr_mean_colour']:.2f} dB",
        ),
    )


def filled(
    subject: Subject, batch: Batch, known: Mask, indices: range, draw: int, jump: int, resamples: int
) -> StoredImages:
    """Fill the holes of some images.

    Args:
        subject: a ``StepwiseModel``.
        batch: the images and their classes.
        known: their known pixels.
        indices: the images' numbers.
        draw: number of the draw; others fill the hole with other noise.
        jump: steps of a stretch.
        resamples: how often each is walked.

    Returns:
        uint8 images on the CPU; known pixels are as they were.

    Raises:
        InputError: when the sampler chooses its own steps, or there is no such jump.
    """
    model, noise = subject.model, noise_for(subject, indices, f"draw {draw}")
    points = make_timesteps(model)
    with model.sampler(model.class_rows(batch.labels, len(indices)), noise) as sampler:
        noisy = points[0].sigma * noise()
        images = repaint(sampler, batch.images, known, noisy, [point.time for point in points], jump, resamples)
    return to_uint8(images).cpu()


def mean_colour(images: StoredImages, known: Mask) -> Float64[Tensor, "batch channels 1 1"]:
    """The mean of each image's known pixels, in [0, 255]."""
    return (images.double() * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)


def error_of(
    found: Float64[Tensor, "batch channels _ _"], truth: StoredImages, unknown: Bool[Tensor, "batch channels _ _"]
) -> Float64[Tensor, ""]:
    """The mean squared error of the unknown pixels, in [0, 1]."""
    return (found - truth).div(255).square()[unknown].mean()
