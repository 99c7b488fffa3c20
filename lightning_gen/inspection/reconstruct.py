"""Images above their reconstructions."""

from typing import Literal

from lightning_gen.evaluation.scoring import psnr
from lightning_gen.images import row_pairs, to_uint8
from lightning_gen.inspection.findings import Findings
from lightning_gen.inspection.options import at_least
from lightning_gen.inspection.panels import strip
from lightning_gen.inspection.subject import Subject
from lightning_gen.types import Reconstructor


def reconstruct(
    subject: Subject, num: int = 32, columns: int = 8, split: Literal["train", "val", "test"] = "test"
) -> Findings:
    """Reconstruct images; the score of all of a split's reconstructions is evaluate's business.

    Args:
        subject: model and data.
        num: how many images, the first of the split.
        columns: images in a row.
        split: the split.

    Returns:
        Each row of images above the row of their reconstructions, and their mean squared error and PSNR in [0, 1].

    Raises:
        InputError: when the model reconstructs nothing.
    """
    at_least(1, columns=columns)
    subject.need(Reconstructor, "reconstructs no images")
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
