"""Images above their reconstructions."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from lightning_gen.diffusion.samplers import make_timestep
from lightning_gen.errors import InputError
from lightning_gen.evaluation import describe_sampling
from lightning_gen.images import row_pairs, to_uint8
from lightning_gen.inspection.denoising import StepwiseModel, displayed, noise_for, settings_of, share_of_noise
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.subject import Subject, at_least
from lightning_gen.losses.image_quality import psnr
from lightning_gen.types import Batch, Reconstructor

LEVELS = (0.2, 0.4, 0.6, 0.8)
Pairs = UInt8[Tensor, "two batch channels height width"]
"""Noisy images, and what was drawn from them."""


def redraw(subject: Subject, num: int, columns: int, levels: Sequence[float] | None, split: str) -> Findings:
    """Noise images and draw them back (SDEdit; Meng et al. 2022, https://arxiv.org/abs/2108.01073).

    An image gets the same noise at each level.

    Args:
        subject: a ``StepwiseModel`` and data.
        num: how many images, the first of the split.
        columns: how many of them the picture has.
        levels: shares of noise in (0, 1]; those of ``LEVELS`` when None.
        split: the split; a conditional model is told its images' classes.

    Returns:
        The images; for each level the noisy images and those drawn from them; and their PSNR in [0, 1].

    Raises:
        InputError: when a level is out of range, or there is no image.
    """
    levels = sorted(LEVELS if levels is None else levels)
    if not levels or not all(0 < level <= 1 for level in levels):
        raise InputError(f"--level is {levels}; levels lie above 0, the image, and go up to 1, pure noise")
    model = subject.model
    images = subject.data.image_set(split)
    num = min(num, len(images))
    places = [range(num)[start : start + subject.batch_size] for start in range(0, num, subject.batch_size)]
    batches = [subject.batch(images, place) for place in places]
    truth = to_uint8(torch.cat([batch.images for batch in batches])).cpu()
    rows, heads = [truth], ["original"]
    psnrs: list[float] = []
    shares: list[float] = []
    for level in levels:
        start = time_of(model, level)
        noisy, again = torch.cat([from_noise(subject, *part, start) for part in zip(batches, places, strict=True)], 1)
        shares.append(share_of_noise(make_timestep(model.process, start)))
        psnrs.append(psnr((again.double() - truth).div(255).square().mean().item()))
        rows += [noisy, again]
        heads += [f"{shares[-1]:.0%} noise", f"drawn, {psnrs[-1]:.1f} dB"]
    numbers: dict[str, Any] = {"num": num, "split": split, **settings_of(model), "noise": shares, "psnr": psnrs}
    return Findings(
        table([[strip(row[:columns])] for row in rows], heads),
        numbers,
        summary=(
            f"{num} images of {split} noised, and drawn back by {describe_sampling(model.sampling)}",
            "PSNR " + ", ".join(f"{db:.2f} dB from {share:.0%} noise" for db, share in zip(psnrs, shares, strict=True)),
        ),
    )


def time_of(model: StepwiseModel, level: float) -> float:
    """The time at which an image has a share of noise, as nearly as the model's finest times have it.

    Args:
        model: the model.
        level: the share, in (0, 1].

    Returns:
        The time, at which there is noise, and which has another after it that has some.
    """
    *times, _, _ = model.all_timesteps()
    alpha, sigma = model.process.alpha_sigma(torch.tensor(times, dtype=torch.float64))
    return times[int((sigma / (alpha + sigma) - level).abs().argmin())]


def from_noise(subject: Subject, batch: Batch, indices: range, start: float) -> Pairs:
    """Noise some images up to a time, and walk back from there: first to the next of the sampler's times, and on.

    Args:
        subject: a ``StepwiseModel``.
        batch: the images and their classes.
        indices: their numbers.
        start: the time.

    Returns:
        Both as uint8 on the CPU.
    """
    model, noise = subject.model, noise_for(subject, indices)
    point = make_timestep(model.process, start)
    *times, last = model.timesteps(model.sampling)
    noisy = point.alpha * batch.images + point.sigma * noise()
    with model.sampler(model.class_rows(batch.labels, len(indices)), noise) as sampler:
        drawn = sampler.run(noisy, [start, *(time for time in times if time < start), last])
    return torch.stack([to_uint8(displayed(noisy, point)), to_uint8(drawn)]).cpu()


def reconstruct(
    subject: Subject,
    num: int = 32,
    columns: int = 8,
    level: list[float] | None = None,
    split: Literal["train", "val", "test"] = "test",
) -> Findings:
    """Reconstruct images; the score of all of a split's reconstructions is evaluate's business.

    A model that draws step by step noises the images with fresh noise up to a level, and draws them back from there by
    those of the sampler's steps that are left (SDEdit; Meng et al. 2022, https://arxiv.org/abs/2108.01073). The level L
    is the share of noise: the images become (1 - L) x_0 + L e, but for a factor.

    Args:
        subject: model and data.
        num: how many images, the first of the split.
        columns: images in a row; of a model that draws step by step, how many are shown.
        level: one or more levels in (0, 1], of a model that draws step by step; 0.2, 0.4, 0.6 and 0.8 when not given.
        split: the split.

    Returns:
        Each row of images above the row of their reconstructions, and their mean squared error and PSNR in [0, 1]; or
        the images and, for each level, the noisy images, those drawn back and their PSNR.

    Raises:
        InputError: when the model reconstructs nothing.
    """
    at_least(1, num=num, columns=columns)
    if not isinstance(subject.model, Reconstructor):
        subject.need(StepwiseModel, "reconstructs no images")
        return redraw(subject, num, columns, level, split)
    if level is not None:
        raise InputError(f"--level is for models that draw step by step, and {subject.name} does not; leave it out")
    batch = subject.first(split, num)
    images, again = to_uint8(batch.images), to_uint8(subject.model.reconstruct(batch.images, labels=batch.labels))
    mse = (images.double() - again.double()).div(255).square().mean().item()
    columns = min(columns, len(images))
    picture = strip(row_pairs(images, again, columns), columns)
    return Findings(
        picture,
        {"num": len(images), "split": split, "mse": mse, "psnr": psnr(mse)},
        summary=(f"PSNR {psnr(mse):.2f} dB over {len(images)} images of {split}",),
    )
