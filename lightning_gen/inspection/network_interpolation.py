"""Interpolation between the weights of two translators (Wang et al. 2018, https://arxiv.org/abs/1809.00219).

    theta = (1 - a) theta_PSNR + a theta_GAN

The networks between a model trained on pixels and a GAN that started from it trade the PSNR for sharpness.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.subject import Subject
from lightning_gen.losses.image_quality import mse, psnr
from lightning_gen.models.base import GenerativeModule
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.types import PairSource, Translator

Weights = dict[str, Tensor]


def network_interpolation(
    subject: Subject,
    psnr_ckpt: Path,
    alphas: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    num: int = 100,
    shown: int = 8,
    split: Literal["train", "val", "test"] = "test",
) -> Findings:
    """Interpolate between the weights of two models with the same network, and measure the PSNR of the translations.

    The PSNR is the mean of the images' PSNR over all channels, in dB, of images of 8 bits.

    Args:
        subject: model and data.
        psnr_ckpt: a checkpoint, or a run's folder, of a model trained on pixels.
        alphas: shares of the inspected model's weights in [0, 1]; the rest is the other model's.
        num: number of images, from the start of the split.
        shown: number of images in the picture.
        split: the split.

    Returns:
        Rows of the inputs, of the translations for each share, and of the targets, and the PSNR for each share.

    Raises:
        InputError: if a model does not translate images, the networks differ, or the split has no pairs.
    """
    check_at_least(1, prefix="--", num=num, shown=shown)
    if not alphas or not all(0 <= alpha <= 1 for alpha in alphas):
        raise InputError(f"--alphas is {alphas}; it takes one or several numbers from 0 to 1")
    subject.require(Translator, "does not make images from images")
    pairs = subject.data.pair_set(split) if isinstance(subject.data, PairSource) else None
    if pairs is None or not pairs.paired:
        raise InputError(f"{split} has no pairs of an input and its target; use data with paired inputs")
    path = find_checkpoint(psnr_ckpt)
    mixed = load_model(path).to(subject.model.device)
    mixed.use_ema = subject.model.use_ema
    start, end = (inference_weights(model) for model in (mixed, subject.model))
    shapes = [{name: value.shape for name, value in weights.items()} for weights in (start, end)]
    if not isinstance(mixed, Translator) or shapes[0] != shapes[1] or mixed.input_shape != subject.model.input_shape:
        raise InputError(f"--psnr_ckpt is {path}, which has another network than {subject.name}")
    indices = range(min(num, len(pairs.images)))
    columns = indices[:shown]
    originals = [subject.batch(images, columns).images for images in (pairs.inputs, pairs.images)]
    scale = mixed.image_shape[1] // mixed.input_shape[1]
    rows = [to_uint8(originals[0]).repeat_interleave(scale, -1).repeat_interleave(scale, -2)]
    quality: list[float] = []
    for alpha in alphas:
        with mixed.inference_network() as network:
            network.load_state_dict(interpolate_weights(start, end, alpha))
        values = [
            psnr(mse(to_uint8(mixed.translate(inputs.images)), to_uint8(targets.images), "image"))
            for inputs, targets in zip(
                subject.batches(pairs.inputs, indices), subject.batches(pairs.images, indices), strict=True
            )
        ]
        quality.append(torch.cat(values).mean().item())
        rows.append(to_uint8(mixed.translate(originals[0])))
    rows.append(to_uint8(originals[1]))
    names = ["input", *(f"{alpha:g}: {value:.2f} dB" for alpha, value in zip(alphas, quality, strict=True)), "target"]
    return Findings(
        table([[strip(row)] for row in rows], names),
        {"num": len(indices), "split": split, "psnr_ckpt": str(path), "alphas": [*alphas], "psnr": quality},
        summary=tuple(
            f"PSNR {value:.2f} dB with {alpha:g} of the weights of {subject.name}, {len(indices)} images of {split}"
            for alpha, value in zip(alphas, quality, strict=True)
        ),
    )


def inference_weights(model: GenerativeModule[Any]) -> Weights:
    """A copy of the weights that a model translates with."""
    with model.inference_network() as network:
        return {name: value.clone() for name, value in network.state_dict().items()}


def interpolate_weights(start: Weights, end: Weights, alpha: float) -> Weights:
    """(1 - alpha) start + alpha end; integers, which count batches, are those of ``end``."""
    return {
        name: torch.lerp(value, end[name], alpha) if value.is_floating_point() else end[name]
        for name, value in start.items()
    }
