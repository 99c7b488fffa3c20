"""Corrupted images and what a model makes of them."""

from typing import Any, Literal, Protocol, runtime_checkable

import torch

from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.subject import Subject, at_least
from lightning_gen.losses.image_quality import psnr
from lightning_gen.networks.corruption import Corruption, corrupt
from lightning_gen.types import Images, IterativeGenerator, Reconstructor

AMOUNT = 0.5
"""How much is corrupted where neither the user nor the model says."""


@runtime_checkable
class Denoiser(Protocol):
    """A model that was trained on corrupted images."""

    corruption: Corruption
    """What it was trained on."""
    amount: float
    """How much of it, in the unit of the kind."""


def denoise(
    subject: Subject,
    corruption: Corruption | None = None,
    amount: float | None = None,
    num: int = 1000,
    shown: int = 16,
    split: Literal["train", "val", "test"] = "test",
) -> Findings:
    """Corrupt images, reconstruct them, and see how much nearer the clean images that is.

        PSNR = -10 log10 mean (u - v)^2    in dB, u the clean images in [0, 1], at most 100

    Gaussian noise is not cut off at black and white, so of sd s its PSNR is -20 log10(s / 2).

    Args:
        subject: model and data.
        corruption: gaussian noise, masking (pixels turned black) or salt_and_pepper (pixels turned black or white); by
            default that of the model's training, or gaussian.
        amount: the noise's standard deviation in units of [-1, 1], or the probability that a pixel is corrupted; by
            default that of the model's training with this corruption, or 0.5.
        num: how many images are measured, the first of the split.
        shown: how many of them the picture has.
        split: the split.

    Returns:
        Clean, corrupted and denoised images in rows, and the PSNR of the corrupted and of the denoised ones.

    Raises:
        InputError: when the model reconstructs nothing.
    """
    if isinstance(subject.model, IterativeGenerator):
        raise InputError(f"{subject.name} removes noise step by step: take reconstruct, with --level, or denoising")
    subject.need(Reconstructor, "reconstructs no images, and so cannot denoise")
    at_least(1, num=num, shown=shown)
    kind, much = chosen_corruption(subject.model, corruption, amount)
    images = subject.data.image_set(split)
    num = min(num, len(images))
    shown = min(shown, num)
    before = after = 0.0
    rows: list[list[Images]] = []
    for batch in subject.batches(images, range(num)):
        noisy = corrupt(batch.images, kind, much)
        restored = subject.model.reconstruct(noisy, labels=batch.labels)
        before += squares(noisy, batch.images)
        after += squares(restored, batch.images)
        if sum(len(row[0]) for row in rows) < shown:
            rows.append([batch.images, noisy, restored])
    psnrs = psnr(before / num), psnr(after / num)
    names = "clean", f"{kind} {much:g}".replace("_", " "), "denoised"
    strips = [[strip(to_uint8(torch.cat(parts)[:shown]))] for parts in zip(*rows, strict=True)]
    numbers: dict[str, Any] = {"num": num, "split": split, "corruption": kind, "amount": much}
    return Findings(
        table(strips, names),
        numbers | {"psnr_corrupted": psnrs[0], "psnr_denoised": psnrs[1], "gain": psnrs[1] - psnrs[0]},
        summary=(f"PSNR {psnrs[0]:.2f} dB of {names[1]}, {psnrs[1]:.2f} dB denoised, {num} images of {split}",),
    )


def chosen_corruption(model: object, kind: Corruption | None, amount: float | None) -> tuple[Corruption, float]:
    """Fill in what the user left open: the amount that a model learned belongs to the corruption that it learned."""
    if isinstance(model, Denoiser):
        kind = kind or model.corruption
        amount = model.amount if amount is None and kind == model.corruption else amount
    return kind or "gaussian", AMOUNT if amount is None else amount


def squares(images: Images, clean: Images) -> float:
    """The sum over images of their mean squared error in [0, 1]."""
    return ((images - clean).double() / 2).square().flatten(1).mean(1).sum().item()
