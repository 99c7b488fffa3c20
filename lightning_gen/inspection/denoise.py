"""Reconstruction of corrupted images."""

from typing import Any, Literal, Protocol, runtime_checkable

import torch

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.subject import Subject
from lightning_gen.losses.image_quality import mse, psnr
from lightning_gen.networks.corruption import Corruption, corrupt
from lightning_gen.types import Images, IterativeGenerator, Reconstructor

DEFAULT_AMOUNT = 0.5


@runtime_checkable
class CorruptionTrained(Protocol):
    """A model trained on corrupted images."""

    corruption: Corruption
    """The corruption of its training images."""
    amount: float
    """Standard deviation or probability of the corruption."""


def denoise(
    subject: Subject,
    corruption: Corruption | None = None,
    amount: float | None = None,
    num: int = 1000,
    shown: int = 16,
    split: Literal["train", "val", "test"] = "test",
) -> Findings:
    """Corrupt images, reconstruct them, and measure the gain in PSNR.

        PSNR = -10 log10 mean (u - v)^2    in dB, u the clean images in [0, 1], at most 100

    Gaussian noise is not clipped, so its PSNR is -20 log10(s / 2) for a standard deviation s.

    Args:
        subject: model and data.
        corruption: gaussian noise, masking (pixels set to black) or salt_and_pepper (pixels set to black or white)
            (default: that of the model's training, or gaussian).
        amount: standard deviation of the noise in units of [-1, 1], or probability that a pixel is corrupted (default:
            that of the model's training with this corruption, or 0.5).
        num: number of images, from the start of the split.
        shown: number of images in the picture.
        split: the split.

    Returns:
        Rows of clean, corrupted and denoised images, and the PSNR of the corrupted and the denoised images.

    Raises:
        InputError: if the model reconstructs no images.
    """
    if isinstance(subject.model, IterativeGenerator):
        raise InputError(f"{subject.name} removes noise iteratively: use reconstruct, with --level, or denoising")
    subject.require(Reconstructor, "reconstructs no images, and so cannot denoise")
    check_at_least(1, prefix="--", num=num, shown=shown)
    kind, level = resolve_corruption(subject.model, corruption, amount)
    images = subject.data.image_set(split)
    num = min(num, len(images))
    shown = min(shown, num)
    before = after = 0.0
    rows: list[list[Images]] = []
    for batch in subject.batches(images, range(num)):
        noisy = corrupt(batch.images, kind, level)
        restored = subject.model.reconstruct(noisy, labels=batch.labels)
        before += sum_of_errors(noisy, batch.images)
        after += sum_of_errors(restored, batch.images)
        if sum(len(row[0]) for row in rows) < shown:
            rows.append([batch.images, noisy, restored])
    psnrs = psnr(before / num), psnr(after / num)
    names = "clean", f"{kind} {level:g}".replace("_", " "), "denoised"
    strips = [[strip(to_uint8(torch.cat(parts)[:shown]))] for parts in zip(*rows, strict=True)]
    numbers: dict[str, Any] = {"num": num, "split": split, "corruption": kind, "amount": level}
    return Findings(
        table(strips, names),
        numbers | {"psnr_corrupted": psnrs[0], "psnr_denoised": psnrs[1], "gain": psnrs[1] - psnrs[0]},
        summary=(f"PSNR {psnrs[0]:.2f} dB of {names[1]}, {psnrs[1]:.2f} dB denoised, {num} images of {split}",),
    )


def resolve_corruption(model: object, kind: Corruption | None, amount: float | None) -> tuple[Corruption, float]:
    """Replace None by the defaults; the amount of the model's training belongs to the corruption of its training."""
    if isinstance(model, CorruptionTrained):
        kind = kind or model.corruption
        amount = model.amount if amount is None and kind == model.corruption else amount
    return kind or "gaussian", DEFAULT_AMOUNT if amount is None else amount


def sum_of_errors(images: Images, clean: Images) -> float:
    """The sum over images of their mean squared error in [0, 1]."""
    return mse(images.double(), clean.double(), "image").sum().item()
