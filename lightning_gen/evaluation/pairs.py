"""Scores of pairs of an image and its target: means over the images of PSNR, SSIM and LPIPS.

Unlike the PSNR of reconstructions, that of the mean squared error, ``psnr`` is here the mean of the images' PSNR in dB,
as it is published for translation and super-resolution. The two differ where the errors of the images do.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.evaluation.copies import CopyReference
from lightning_gen.evaluation.extraction import ScoredBatch, compare_pairs, pair_metrics
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.evaluation.lpips import WANTED, Lpips
from lightning_gen.evaluation.metric_checks import check_metrics
from lightning_gen.evaluation.metrics import PAIR_METRICS
from lightning_gen.losses.image_quality import LUMA_WEIGHTS, crop_border
from lightning_gen.types import ImageSet, PairSet, StoredImages, UnequalImageSet

Targets = UInt8[Tensor, "batch target_channels target_height target_width"]


class PairScores:
    """The values of each pair of images that the scores of pairs are means of.

    Args:
        side: the smallest height or width of any image; SSIM needs 11 pixels.
        border: pixels at each side that ``psnr_y`` and ``ssim_y`` leave out; None: these two are not computed.
        lpips: the network of ``lpips``; None: it is not computed.
    """

    def __init__(self, side: int, border: int | None = None, lpips: Lpips | None = None) -> None:
        self.border = border
        self.lpips = lpips
        self.metrics = pair_metrics("targets", side)
        self.cropped = [] if border is None else pair_metrics("cropped_targets", side - 2 * border)

    def __call__(self, images: StoredImages, targets: Targets) -> dict[str, Tensor]:
        """Values of each pair, by the name of the metric.

        Args:
            images: uint8 images on the CPU.
            targets: uint8 images of the same height and width; where one is grey and the other RGB, it is repeated.

        Returns:
            One value per pair and metric.

        Raises:
            InputError: when the images and their targets differ in size.
        """
        if images.shape[2:] != targets.shape[2:]:
            (height, width), (target_height, target_width) = images.shape[2:], targets.shape[2:]
            raise InputError(
                f"an image of {width}x{height} cannot be compared with a target of {target_width}x{target_height}; "
                "the two must have one size"
            )
        channels = max(images.shape[1], targets.shape[1])
        images, targets = (part.expand(-1, channels, -1, -1) for part in (images, targets))
        values = compare_pairs(self.metrics, images, targets)
        if self.border is not None:
            inner = [crop_border(part, self.border) for part in (images, targets)]
            values |= compare_pairs(self.cropped, *inner)
        if self.lpips is not None:
            values["lpips"] = self.lpips(images, targets)
        return values

    def batches_of(
        self, images: ImageSet, targets: ImageSet, partners: Sequence[int]
    ) -> Callable[[range], ScoredBatch]:
        """The ``load`` function of an image set whose image i has the target ``partners[i]``."""

        def load(indices: range) -> ScoredBatch:
            batch = take(images, indices)
            return ScoredBatch(batch, self(batch, take(targets, [partners[index] for index in indices])))

        return load

    def notes(self) -> list[str]:
        """Notes for the score card: what the means and the luma are."""
        notes = ["psnr and other scores of pairs are means over the images"] if self.metrics else []
        if self.cropped:
            grey = f"a grey image g is taken as R = G = B, Y = 16 + {sum(LUMA_WEIGHTS):.0f} g"
            notes.append(f"psnr_y and ssim_y: studio luma of BT.601, border of {self.border} left out; {grey}")
        if self.lpips is not None:
            notes.append(f"lpips 0.1 by AlexNet, weights {self.lpips.weights_hash}")
        return notes


def check_pair_metrics(
    metrics: Sequence[str],
    extractor: Extractor | None,
    images: int,
    reference: int,
    lpips: Lpips | None,
    copy_reference: CopyReference | None = None,
) -> None:
    """Check that metrics are defined for pairs; those of ``PAIR_METRICS`` may be among them, and there may be none.

    Args:
        metrics: names of metrics.
        extractor: the extractor; None where there is none.
        images: the number of images.
        reference: the number of reference images.
        lpips: the network of ``lpips``.
        copy_reference: training and held-out images, for metrics that need held-out images.

    Raises:
        InputError: naming the metric and what it needs.
    """
    if "lpips" in metrics and lpips is None:
        raise InputError(f"lpips needs {WANTED}")
    features = [name for name in metrics if name not in PAIR_METRICS]
    if features:
        check_metrics(features, extractor, images, reference, copy_reference)


def take(images: ImageSet, indices: Sequence[int]) -> StoredImages:
    """The images with these indices; a single one by a slice, which image sets of unequal size require."""
    if len(indices) == 1:
        return images[indices[0] : indices[0] + 1]
    return images[np.asarray(indices, dtype=np.int64)]


def differ_in_size(pairs: PairSet) -> bool:
    """Whether the inputs or the targets of pairs are images of several sizes, which have no feature statistics."""
    return any(isinstance(part, UnequalImageSet) and len({*part.sizes}) > 1 for part in (pairs.inputs, pairs.images))


def smallest_side(images: ImageSet) -> int:
    """The smallest height or width of the images of a set."""
    if isinstance(images, UnequalImageSet):
        return min(min(size) for size in images.sizes)
    return min(images[:1].shape[2:])


def labels_at(labels: npt.NDArray[np.int64] | None, indices: Sequence[int]) -> Tensor | None:
    """The labels with these indices; None without labels."""
    return None if labels is None else torch.from_numpy(np.asarray(labels)[list(indices)])
