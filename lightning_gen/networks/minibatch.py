"""Layers that let a discriminator see the variety of a batch, so that a generator cannot repeat one image.

Minibatch discrimination (Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 3.2) compares learned
projections M_i = T f(x_i) of images pair by pair:

    c_b(x_i, x_j) = exp(-|M_i,b - M_j,b|_1),    o(x_i)_b = sum_j c_b(x_i, x_j)

The minibatch standard deviation (Karras et al. 2018, https://arxiv.org/abs/1710.10196, section 3) has no parameters: it
appends the standard deviation over images, averaged over all features.

Both let what is said of an image depend on its batch-mates: a loss that takes one image at a time (the gradient penalty
of WGAN-GP) no longer means what it meant.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

EPSILON = 1e-8
"""Under the root of the variance, where its slope at 0 would be infinite."""


class MinibatchDiscrimination(nn.Module):
    """Appends to each image's features its likeness to the other images of the batch, in [0, batch - 1] each.

    The image itself is left out of the sum: its term is exp(0) = 1 for whatever image, which the next layer's bias
    would have to take away. So an image alone is given zeros. The sum grows with the batch, as in the paper: train and
    evaluate with batches of one size.

    The paper leaves T's initial values open; here they are N(0, 1 / (dim^2 features)), for which features of unit
    variance begin at distances |M_i,b - M_j,b|_1 of about 1, where exp has a slope.

    Args:
        features: inputs.
        kernels: comparisons, each with a projection of its own (B in the paper).
        dim: length of each projection (C in the paper).

    Attributes:
        outputs: features + kernels.
    """

    def __init__(self, features: int, kernels: int = 50, dim: int = 5) -> None:
        super().__init__()
        self.outputs = features + kernels
        self.kernels, self.dim = kernels, dim
        self.projection = nn.Linear(features, kernels * dim, bias=False)
        nn.init.normal_(self.projection.weight, std=1 / (dim * math.sqrt(features)))

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch outputs"]:
        """Append likenesses.

        Args:
            features: (batch, features).

        Returns:
            (batch, features + kernels), in the type of the features.
        """
        projections = _at_least_float32(self.projection(features)).unflatten(1, (self.kernels, self.dim))
        # not torch.cdist: a penalty on gradients differentiates twice, and cdist's gradient cannot be
        distances = (projections[:, None] - projections[None]).abs().sum(-1)  # (batch, batch, kernels)
        others = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
        likeness = ((-distances).exp() * others[:, :, None]).sum(1)  # (batch, kernels)
        return torch.cat([features, likeness.to(features.dtype)], dim=1)


class MinibatchStddev(nn.Module):
    """Appends one channel: the standard deviation over a group of images, averaged over channels and positions.

    For images i of a group of n, features k of K, and mean m_k over the group:

        s = 1 / K sum_k sqrt(1 / n sum_i (x_ik - m_k)^2 + 1e-8)

    Groups are runs of images that stand side by side in the batch. Their size is the largest divisor of the batch that
    is not above ``group``, so that every batch can be parted; where that is 1 (a prime batch above ``group``), s is
    1e-4 and says nothing.

    Args:
        group: the most images of a group, at least 1.
    """

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(
        self, features: Float[Tensor, "batch channels *spatial"]
    ) -> Float[Tensor, "batch channels_and_one *spatial"]:
        """Append the standard deviation.

        Args:
            features: (batch, channels) or maps of (batch, channels, height, width).

        Returns:
            One channel more, the same value for all positions and all images of a group, computed in float32 or wider.
        """
        batch, _, *spatial = features.shape
        size = next(n for n in range(min(self.group, batch), 0, -1) if batch % n == 0)
        groups = _at_least_float32(features).reshape(batch // size, size, -1)  # (groups, size, K)
        variances = (groups - groups.mean(1, keepdim=True)).square().mean(1)  # (groups, K)
        deviations = (variances + EPSILON).sqrt().mean(1).repeat_interleave(size)  # (batch,)
        channel = deviations.to(features.dtype).reshape(batch, 1, *(1 for _ in spatial)).expand(batch, 1, *spatial)
        return torch.cat([features, channel], dim=1)


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
