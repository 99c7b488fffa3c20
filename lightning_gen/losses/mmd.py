r"""The maximum mean discrepancy of two samples (Gretton et al. 2012, https://jmlr.org/papers/v13/gretton12a.html).

    MMD^2(P, Q) = E k(x, x') + E k(y, y') - 2 E k(x, y),    x, x' ~ P,  y, y' ~ Q, all independent

which is 0 for P = Q and, with a characteristic kernel such as the one below, for no other Q.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.errors import InputError

Points = Float[Tensor, "points dims"]
Gram = Float[Tensor, "first second"]
Kernel = Callable[[Points, Points], Gram]


def squared_distances(x: Float[Tensor, "first dims"], y: Float[Tensor, "second dims"]) -> Gram:
    """|x_i - y_j|^2 for all pairs, in float32 at least.

    Args:
        x: points.
        y: points.

    Returns:
        One number a pair, at least 0.
    """
    x, y = (points.to(torch.promote_types(points.dtype, torch.float32)) for points in (x, y))
    # through differences: |x|^2 + |y|^2 - 2 <x, y> loses near points to rounding, and more so under mixed precision
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()


def inverse_multiquadratic(
    x: Float[Tensor, "first dims"], y: Float[Tensor, "second dims"], constants: Sequence[float]
) -> Gram:
    """k(x, y) = sum_C C / (C + |x - y|^2): its tails are heavy, so that far points are drawn in too.

    Args:
        x: points.
        y: points.
        constants: each C > 0, in units of the points squared; 2 d sigma^2, the mean of |x - y|^2 for two points of
            N(0, sigma^2 I) in d dimensions, is Tolstikhin et al.'s choice.

    Returns:
        One number a pair, in (0, len(constants)].
    """
    distances = squared_distances(x, y)
    return torch.stack([constant / (constant + distances) for constant in constants]).sum(0)


def mmd(
    x: Float[Tensor, "first dims"], y: Float[Tensor, "second dims"], kernel: Kernel, unbiased: bool = True
) -> Float[Tensor, ""]:
    r"""An estimate of MMD^2 from m points x and n points y.

    The U-statistic (Gretton et al., lemma 6; Tolstikhin et al. 2018, algorithm 2) leaves out the pairs of a point with
    itself, and has the right mean:

        sum_{i != j} k(x_i, x_j) / m(m - 1) + sum_{i != j} k(y_i, y_j) / n(n - 1) - 2 sum_{i, j} k(x_i, y_j) / mn

    The V-statistic keeps them (sums over all i, j, divided by m^2 and n^2): it is never negative, and too large in the
    mean.

    Args:
        x: points.
        y: points.
        kernel: (points, points) -> the kernel of all pairs.
        unbiased: the U-statistic in place of the V-statistic.

    Returns:
        The estimate of the square; the U-statistic can be negative.

    Raises:
        InputError: when the U-statistic is asked for and there is no pair of points.
    """
    if unbiased and min(len(x), len(y)) < 2:
        raise InputError(
            f"the unbiased MMD compares the points of a batch, and of {len(x)} and {len(y)} there are no pairs; "
            "set data.batch_size so that each process has 2 images or more in a batch"
        )
    within = sum((mean_of_pairs(kernel(points, points), unbiased) for points in (x, y)), torch.zeros_like(x[0, 0]))
    return within - 2 * kernel(x, y).mean()


def mean_of_pairs(gram: Float[Tensor, "points points"], distinct: bool) -> Float[Tensor, ""]:
    """The mean of a kernel over the pairs of a sample.

    Args:
        gram: the kernel of all pairs.
        distinct: whether the pairs of a point with itself are left out.

    Returns:
        The mean.
    """
    if not distinct:
        return gram.mean()
    num = len(gram)
    return (gram.sum() - gram.diagonal().sum()) / (num * (num - 1))
