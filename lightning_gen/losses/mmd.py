r"""The maximum mean discrepancy of two samples (Gretton et al. 2012, https://jmlr.org/papers/v13/gretton12a.html).

    MMD^2(P, Q) = E k(x, x') + E k(y, y') - 2 E k(x, y),    x, x' ~ P,  y, y' ~ Q, all independent

It is 0 for P = Q and, if the kernel is characteristic (as the one below is), only for P = Q.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.errors import InputError

Points = Float[Tensor, "points dims"]
GramMatrix = Float[Tensor, "first second"]
Kernel = Callable[[Points, Points], GramMatrix]


def squared_distances(x: Float[Tensor, "first dims"], y: Float[Tensor, "second dims"]) -> GramMatrix:
    """|x_i - y_j|^2 for all pairs of points, in float32 or wider."""
    x, y = (points.to(torch.promote_types(points.dtype, torch.float32)) for points in (x, y))
    # |x|^2 + |y|^2 - 2 <x, y> has large rounding errors for close points, above all in mixed precision
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()


def inverse_multiquadratic(
    x: Float[Tensor, "first dims"], y: Float[Tensor, "second dims"], constants: Sequence[float]
) -> GramMatrix:
    """The kernel k(x, y) = sum_C C / (C + |x - y|^2), whose heavy tails give gradients for distant points too.

    Args:
        x: points.
        y: points.
        constants: scales C > 0, in units of squared distance. Tolstikhin et al. use 2 d sigma^2, the mean of
            |x - y|^2 for two points of N(0, sigma^2 I) in d dimensions.

    Returns:
        The kernel of all pairs, in (0, len(constants)].
    """
    distances = squared_distances(x, y)
    return torch.stack([constant / (constant + distances) for constant in constants]).sum(0)


def mmd(
    x: Float[Tensor, "first dims"], y: Float[Tensor, "second dims"], kernel: Kernel, unbiased: bool = True
) -> Float[Tensor, ""]:
    r"""Estimate MMD^2 from m points x and n points y.

    The U-statistic (Gretton et al., lemma 6; Tolstikhin et al. 2018, algorithm 2) omits the pairs of a point with
    itself and is unbiased:

        sum_{i != j} k(x_i, x_j) / m(m - 1) + sum_{i != j} k(y_i, y_j) / n(n - 1) - 2 sum_{i, j} k(x_i, y_j) / mn

    The V-statistic includes them (sums over all i, j, divided by m^2 and n^2). It is never negative and is biased
    upwards.

    Args:
        x: points of the first sample.
        y: points of the second sample.
        kernel: (points, points) -> the kernel of all pairs.
        unbiased: whether to compute the U-statistic, not the V-statistic.

    Returns:
        The estimate; the U-statistic can be negative.

    Raises:
        InputError: if a sample of the U-statistic has fewer than 2 points.
    """
    if unbiased and min(len(x), len(y)) < 2:
        raise InputError(
            f"the unbiased MMD needs at least 2 points per sample, not {len(x)} and {len(y)}; "
            "set data.batch_size so that each process has at least 2 images per batch"
        )
    within = sum((mean_over_pairs(kernel(points, points), unbiased) for points in (x, y)), torch.zeros_like(x[0, 0]))
    return within - 2 * kernel(x, y).mean()


def mean_over_pairs(gram: Float[Tensor, "points points"], exclude_diagonal: bool) -> Float[Tensor, ""]:
    """The mean of a Gram matrix over all pairs, or over the pairs of two different points."""
    if not exclude_diagonal:
        return gram.mean()
    num = len(gram)
    return (gram.sum() - gram.diagonal().sum()) / (num * (num - 1))
