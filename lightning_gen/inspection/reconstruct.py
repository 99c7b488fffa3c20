"""Reconstructions of images."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.diffusion.samplers import make_timestep
from lightning_gen.errors import InputError
from lightning_gen.evaluation import describe_sampling
from lightning_gen.images import row_pairs, to_uint8
from lightning_gen.inspection.denoising import (
    DenoisingModel,
    noise_level,
    noise_source,
    rescale_noisy,
    sampling_settings,
)
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.subject import Subject
from lightning_gen.losses.image_quality import mse, psnr
from lightning_gen.types import Batch, Reconstructor

DEFAULT_LEVELS = (0.2, 0.4, 0.6, 0.8)
Pairs = UInt8[Tensor, "two batch channels height width"]
"""Noisy images, and the images regenerated from them."""


def add_noise_and_denoise(
    subject: Subject, num: int, columns: int, levels: Sequence[float] | None, split: str
) -> Findings:
    """Add noise to images and denoise them (SDEdit; Meng et al. 2022, https://arxiv.org/abs/2108.01073).

    The noise of an image is the same at every level.

    Args:
        subject: a ``DenoisingModel`` and data.
        num: number of images, from the start of the split.
        columns: number of images in the picture.
        levels: noise levels L in (0, 1]; None for ``DEFAULT_LEVELS``.
        split: the split; a conditional model receives the images' labels.

    Returns:
        The images; for each level the noisy and the denoised images, and the PSNR of the latter.

    Raises:
        InputError: if a level is out of range.
    """
    levels = sorted(DEFAULT_LEVELS if levels is None else levels)
    if not levels or not all(0 < level <= 1 for level in levels):
        raise InputError(f"--level is {levels}; levels must lie in (0, 1]: 0 is the image and 1 pure noise")
    model = subject.model
    images = subject.data.image_set(split)
    num = min(num, len(images))
    ranges = [range(num)[start : start + subject.batch_size] for start in range(0, num, subject.batch_size)]
    batches = [subject.batch(images, indices) for indices in ranges]
    truth = to_uint8(torch.cat([batch.images for batch in batches])).cpu()
    rows, heads = [truth], ["original"]
    psnrs: list[float] = []
    noise_levels: list[float] = []
    for level in levels:
        start = time_at_level(model, level)
        noisy, again = torch.cat(
            [add_and_remove_noise(subject, *part, start) for part in zip(batches, ranges, strict=True)], 1
        )
        noise_levels.append(noise_level(make_timestep(model.process, start)))
        psnrs.append(psnr(mse(again, truth).item()))
        rows += [noisy, again]
        heads += [f"{noise_levels[-1]:.0%} noise", f"drawn, {psnrs[-1]:.1f} dB"]
    numbers: dict[str, Any] = {
        "num": num,
        "split": split,
        **sampling_settings(model),
        "noise": noise_levels,
        "psnr": psnrs,
    }
    pairs = zip(psnrs, noise_levels, strict=True)
    return Findings(
        table([[strip(row[:columns])] for row in rows], heads),
        numbers,
        summary=(
            f"{num} images of {split} with noise added, denoised by {describe_sampling(model.sampling)}",
            "PSNR " + ", ".join(f"{db:.2f} dB from {level:.0%} noise" for db, level in pairs),
        ),
    )


def time_at_level(model: DenoisingModel, level: float) -> float:
    """The time whose noise level is nearest to ``level`` in (0, 1], except the last time with noise."""
    *times, _, _ = model.all_timesteps()
    alpha, sigma = model.process.alpha_sigma(torch.tensor(times, dtype=torch.float64))
    return times[int((sigma / (alpha + sigma) - level).abs().argmin())]


def add_and_remove_noise(subject: Subject, batch: Batch, indices: range, start: float) -> Pairs:
    """Add the noise of the time ``start`` to images, and denoise them by the remaining steps of the sampler.

    Args:
        subject: a ``DenoisingModel``.
        batch: images and labels.
        indices: indices of the images.
        start: the time.

    Returns:
        The noisy and the denoised images, uint8 on the CPU.
    """
    model, noise = subject.model, noise_source(subject, indices)
    at = make_timestep(model.process, start)
    *times, last = model.timesteps(model.sampling)
    noisy = at.alpha * batch.images + at.sigma * noise()
    with model.sampler(model.class_rows(batch.labels, len(indices)), noise) as sampler:
        denoised = sampler.run(noisy, [start, *(time for time in times if time < start), last])
    return torch.stack([to_uint8(rescale_noisy(noisy, at)), to_uint8(denoised)]).cpu()


def reconstruct(
    subject: Subject,
    num: int = 32,
    columns: int = 8,
    level: list[float] | None = None,
    split: Literal["train", "val", "test"] = "test",
) -> Findings:
    """Reconstruct images.

    For a diffusion model or flow, noise is added to the images up to a level, and the remaining steps of the sampler
    denoise them (SDEdit; Meng et al. 2022, https://arxiv.org/abs/2108.01073). At the level L the noisy images are, up
    to a factor, (1 - L) x_0 + L e. ``evaluate --reconstructions`` scores the reconstructions of a whole split.

    Args:
        subject: model and data.
        num: number of images, from the start of the split.
        columns: number of images per row; for a diffusion model or flow, the number of images in the picture.
        level: noise levels in (0, 1] of a diffusion model or flow (default: 0.2, 0.4, 0.6 and 0.8).
        split: the split.

    Returns:
        Rows of images above rows of their reconstructions, with mean squared error and PSNR; or the images and, for
        each level, the noisy and the denoised images with their PSNR.

    Raises:
        InputError: if the model reconstructs no images.
    """
    check_at_least(1, prefix="--", num=num, columns=columns)
    if not isinstance(subject.model, Reconstructor):
        subject.require(DenoisingModel, "reconstructs no images")
        return add_noise_and_denoise(subject, num, columns, level, split)
    if level is not None:
        raise InputError(f"--level is for iterative models, and {subject.name} is not iterative; leave it out")
    batch = subject.first(split, num)
    images, again = to_uint8(batch.images), to_uint8(subject.model.reconstruct(batch.images, labels=batch.labels))
    error = mse(again, images).item()
    columns = min(columns, len(images))
    picture = strip(row_pairs(images, again, columns), columns)
    return Findings(
        picture,
        {"num": len(images), "split": split, "mse": error, "psnr": psnr(error)},
        summary=(f"PSNR {psnr(error):.2f} dB over {len(images)} images of {split}",),
    )
