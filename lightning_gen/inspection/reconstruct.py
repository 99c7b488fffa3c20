"""Images above their reconstructions."""

from typing import Literal

from lightning_gen.errors import InputError
from lightning_gen.images import row_pairs, to_uint8
from lightning_gen.inspection.findings import Findings
from lightning_gen.inspection.gradual import StepwiseModel
from lightning_gen.inspection.options import at_least
from lightning_gen.inspection.panels import strip
from lightning_gen.inspection.redraw import redraw
from lightning_gen.inspection.subject import Subject
from lightning_gen.losses.image_quality import psnr
from lightning_gen.types import Reconstructor


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
