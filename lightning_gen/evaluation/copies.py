"""Data-copying: whether samples are copies of training images.

For the training images T, with the distances d_1(x) <= d_2(x) from an image x to its two nearest training images,

    share nearer    #{x in samples : d_1(x) < q} / M,    q the 1 % quantile of d_1 over the held-out images
    share by ratio  the same with the distance ratio r(x) = d_1(x) / d_2(x) instead of d_1
    C_T             sum_c P(c) Z_c / sum_c P(c)    over the cells c of a partition

Distances are Euclidean, of pixels and of an extractor's features. P(c) is the share of the held-out images in the cell
c and Z_c the z-score of the Mann-Whitney statistic of d_1, samples against held-out images of that cell. It is negative
where samples are nearer. The partition is a k-means of the training features. Cells with fewer than 20 samples are left
out (Meehan, Chaudhuri and Dasgupta 2020, https://arxiv.org/abs/2004.05675).

**Significance.** With q the k-th smallest of n held-out values, the number of M independent samples of the data's own
distribution below q has the beta-binomial distribution with M trials and parameters k and n + 1 - k, whatever that
distribution is.

**Decision.** A model is said to have memorised images if, by pixels or by features, the share by ratio is at least
twice its expectation and p < 0.001 (with Bonferroni's correction for the two tests). The distance alone does not
decide: smooth images, such as those of a VAE, are near to many training images without being copies. A copy is much
nearer to one training image than to all others, so its ratio is small; the ratio of a smooth image is close to 1. The
ratio to the next neighbour is the criterion of Yoon et al. 2023 (https://openreview.net/forum?id=shciCbSk9h); the
threshold is calibrated on held-out images here.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from scipy.special import logsumexp
from scipy.stats import betabinom, rankdata
from sklearn.cluster import KMeans
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.evaluation.nearest import Nearest
from lightning_gen.types import ImageSet, StoredImages

QUANTILE = 0.01
"""Quantile of the held-out images' distances below which a sample counts as near."""
SIGNIFICANCE = 0.001
"""Upper limit of the probability that a model which samples the data's own distribution is said to have memorised."""
MIN_EXCESS = 2
"""The share of samples with a small ratio must be this multiple of its expectation."""
MIN_CELL_SAMPLES = 20
"""Cells with fewer samples are left out of C_T."""
IMAGES_PER_CELL = 50
"""The number of cells is chosen so that cells contain this many samples and held-out images on average."""
MAX_CELLS = 50
ROWS_PER_BLOCK = 1024
"""The number of training images whose distances are in memory at once."""
SPACES = ("pixels", "features")

Samples = Float64[Tensor, " samples"]
HeldOut = Float64[Tensor, " held_out"]


class CopyReference(NamedTuple):
    """The real images that ``copies`` compares samples with."""

    training: ImageSet
    held_out: ImageSet


class Nearer(NamedTuple):
    """How many samples have small values.

    Attributes:
        share: the share of the samples below the quantile of the held-out images.
        expected: its expectation if samples and held-out images have the same distribution.
        p: probability of at least this share in that case.
    """

    share: float
    expected: float
    p: float


class SpaceStatistics(NamedTuple):
    """The statistics by pixels or by features.

    Attributes:
        distance: samples with a small distance d_1.
        ratio: samples with a small ratio d_1 / d_2.
        c_t: the statistic C_T of d_1.
        duplicates: the share of the held-out images that are exact copies of training images.
    """

    distance: Nearer
    ratio: Nearer
    c_t: float
    duplicates: float


@dataclass(frozen=True)
class CopyStatistics:
    """The statistics of data-copying.

    Attributes:
        spaces: the statistics by ``pixels`` and by ``features``.
        num_held_out: the number of held-out images.
    """

    spaces: Mapping[str, SpaceStatistics]
    num_held_out: int

    @property
    def p(self) -> float:
        """P-value of the smaller of the tests of the ratio, with Bonferroni's correction."""
        return min(1.0, len(self.spaces) * min(space.ratio.p for space in self.spaces.values()))

    @property
    def memorised(self) -> tuple[str, ...]:
        """The spaces in which the model is said to have memorised training images."""
        return tuple(
            name
            for name, (_, ratio, *_) in self.spaces.items()
            if len(self.spaces) * ratio.p < SIGNIFICANCE and ratio.share >= MIN_EXCESS * ratio.expected
        )


def copy_statistics(
    samples: tuple[StoredImages, Float[Tensor, "samples features"]],
    training: tuple[ImageSet, Float[Tensor, "training features"]],
    held_out: tuple[ImageSet, Float[Tensor, "held_out features"]],
) -> CopyStatistics:
    """Compute the statistics of data-copying from images and their features.

    The training images are read in blocks, and distances are computed in blocks.

    Args:
        samples: the generated images and their features.
        training: the images that the model was trained on and their features.
        held_out: real images that it was not trained on and their features.

    Returns:
        The statistics.

    Raises:
        InputError: when the images have different shapes.
    """
    shapes = [tuple(images.shape[1:]) for images in (samples[0], training[0][:1], held_out[0][:1])]
    if len(set(shapes)) > 1:
        raise InputError(
            "copies compares pixels: samples are {}, training images {}, held-out images {}".format(*shapes)
        )
    num = len(samples[0])
    train_images, train_features = training
    train_pixels = (
        train_images[start : start + ROWS_PER_BLOCK].flatten(1) for start in range(0, len(train_images), ROWS_PER_BLOCK)
    )
    found = {
        "pixels": nearest_distances(torch.cat([samples[0], held_out[0][:]]).flatten(1), train_pixels),
        "features": nearest_distances(torch.cat([samples[1], held_out[1]]), train_features.split(ROWS_PER_BLOCK)),
    }
    num_cells = min(MAX_CELLS, min(num, len(held_out[0])) // IMAGES_PER_CELL, len(train_images))
    cells = partition(train_features, torch.cat([samples[1], held_out[1]]), max(1, num_cells))
    return CopyStatistics(
        {name: space_statistics(found[name], cells, num) for name in SPACES}, num_held_out=len(held_out[0])
    )


def nearest_distances(
    queries: Shaped[Tensor, "queries width"], rows: Iterable[Shaped[Tensor, "_ width"]]
) -> Float64[Tensor, "queries 2"]:
    """Euclidean distances of each query to its nearest and its second nearest row, in blocks of rows."""
    nearest = Nearest(queries, 2)
    for block in rows:
        nearest.update(block)
    return nearest.distances.sqrt()


def partition(
    training: Float[Tensor, "training features"], queries: Float[Tensor, "queries features"], num_cells: int
) -> Int64[Tensor, " queries"]:
    """Assign vectors to the cells of a k-means of the training vectors."""
    means = KMeans(num_cells, n_init=1, random_state=0).fit(training.numpy())
    return torch.from_numpy(means.predict(queries.numpy())).long()


def space_statistics(
    distances: Float64[Tensor, "images 2"], cells: Int64[Tensor, " images"], num: int
) -> SpaceStatistics:
    """The statistics of one space.

    Args:
        distances: distances to the two nearest training images, of ``num`` samples followed by held-out images.
        cells: cell of each of these images.
        num: the number of samples.

    Returns:
        The statistics.
    """
    nearest = distances[:, 0]
    ratio = torch.where(nearest > 0, nearest / distances[:, 1], 0.0)  # 0 / 0: a copy of an image with a duplicate
    return SpaceStatistics(
        distance=share_nearer(nearest[:num], nearest[num:]),
        ratio=share_nearer(ratio[:num], ratio[num:]),
        c_t=c_t(nearest[:num], nearest[num:], cells[:num], cells[num:]),
        duplicates=(nearest[num:] == 0).double().mean().item(),
    )


def share_nearer(samples: Samples, held_out: HeldOut) -> Nearer:
    """The share of samples below the 1 % quantile of the held-out values, with its exact p-value.

        X ~ BetaBinomial(M, k, n + 1 - k),    p = P(X >= x),    k = floor(0.01 (n + 1)), at least 1

    for M samples, n held-out values and x samples below the k-th smallest of these. Where more held-out values than
    that are 0, because held-out images are copies of training images, q is the smallest value above 0. The p-value is
    exact except in this case.

    Args:
        samples: non-negative values of the samples.
        held_out: values of the held-out images.

    Returns:
        The share, its expectation k / (n + 1), and the p-value.
    """
    num, n = len(samples), len(held_out)
    zeros = int((held_out == 0).sum())
    k = min(n, max(1, int(QUANTILE * (n + 1)), zeros + 1))
    below = int((samples < held_out.sort().values[k - 1]).sum())
    p = math.exp(min(0.0, logsumexp(betabinom.logpmf(np.arange(below, num + 1), num, k, n + 1 - k))))
    return Nearer(below / num, k / (n + 1), p)


def mann_whitney_z(samples: Samples, held_out: HeldOut) -> float:
    """The z-score of the Mann-Whitney statistic, negative where the samples' values are smaller.

        U = #{(s, h) : s > h} + #{(s, h) : s = h} / 2,    z = (U - mn / 2) / sigma
        sigma^2 = mn / 12 (m + n + 1 - sum_t (t^3 - t) / ((m + n) (m + n - 1)))

    with m samples, n held-out values, and t values in each group of equal values.

    Args:
        samples: values of the samples.
        held_out: values of the held-out images.

    Returns:
        The z-score; 0 if all values are equal.
    """
    m, n = len(samples), len(held_out)
    pooled = torch.cat([samples, held_out]).numpy()
    u = rankdata(pooled)[:m].sum() - m * (m + 1) / 2
    ties = np.unique(pooled, return_counts=True)[1].astype(np.float64)
    variance = m * n / 12 * (m + n + 1 - (ties**3 - ties).sum() / ((m + n) * (m + n - 1)))
    return float((u - m * n / 2) / math.sqrt(variance)) if variance > 0 else 0.0


def c_t(
    samples: Samples,
    held_out: HeldOut,
    sample_cells: Int64[Tensor, " samples"],
    held_out_cells: Int64[Tensor, " held_out"],
) -> float:
    """The statistic C_T of Meehan et al. 2020: below -3, samples are nearer to training images than held-out images.

    Args:
        samples: distance of each sample to its nearest training image.
        held_out: distance of each held-out image to its nearest training image.
        sample_cells: cell of each sample.
        held_out_cells: cell of each held-out image.

    Returns:
        The mean of the cells' z-scores, weighted by the cells' numbers of held-out images. If no cell has held-out
        images and at least 20 samples, the z-score of all images.
    """
    total, weights = 0.0, 0
    for cell in held_out_cells.unique():
        own, others = samples[sample_cells == cell], held_out[held_out_cells == cell]
        if len(own) >= MIN_CELL_SAMPLES:
            total += len(others) * mann_whitney_z(own, others)
            weights += len(others)
    return total / weights if weights else mann_whitney_z(samples, held_out)
