"""Discriminator layers that measure the diversity of a batch, so that it detects mode collapse of the generator.

Minibatch discrimination (Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 3.2) compares learned
projections M_i = T f(x_i) of all pairs of images:

    c_b(x_i, x_j) = exp(-|M_i,b - M_j,b|_1),    o(x_i)_b = sum_j c_b(x_i, x_j)

The minibatch standard deviation (Karras et al. 2018, https://arxiv.org/abs/1710.10196, section 3) has no parameters: it
appends the standard deviation over images, averaged over all features.

With either layer the logit of an image depends on the other images of the batch. The gradient penalty of WGAN-GP
assumes that it does not.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

EPSILON = 1e-8
"""Added to the variance, because the derivative of the square root at 0 is infinite."""


class MinibatchDiscrimination(nn.Module):
    """Appends to the features of each image its similarity to the other images of the batch, in [0, batch - 1].

    The term j = i is omitted: it is always exp(0) = 1. The similarity of a single image is therefore 0. The sum grows
    with the batch, as in the paper: use the same batch size for training and evaluation.

    The paper does not specify the initialisation of T. Here it is N(0, 1 / (kernel_dim^2 in_features)): features of
    unit variance initially have distances |M_i,b - M_j,b|_1 of about 1, where the gradient of exp does not vanish.

    Args:
        in_features: number of input features.
        num_kernels: number of similarities (B in the paper), each with its own projection.
        kernel_dim: dimension of each projection (C in the paper).

    Attributes:
        out_features: in_features + num_kernels.
    """

    def __init__(self, in_features: int, num_kernels: int = 50, kernel_dim: int = 5) -> None:
        super().__init__()
        self.out_features = in_features + num_kernels
        self.num_kernels, self.kernel_dim = num_kernels, kernel_dim
        self.projection = nn.Linear(in_features, num_kernels * kernel_dim, bias=False)
        nn.init.normal_(self.projection.weight, std=1 / (kernel_dim * math.sqrt(in_features)))

    def forward(self, features: Float[Tensor, "batch in_features"]) -> Float[Tensor, "batch out_features"]:
        """Append similarities, computed in float32 or wider, to the features."""
        projections = _at_least_float32(self.projection(features)).unflatten(1, (self.num_kernels, self.kernel_dim))
        # not torch.cdist: gradient penalties need second derivatives, which cdist does not have
        distances = (projections[:, None] - projections[None]).abs().sum(-1)  # (batch, batch, num_kernels)
        others = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
        similarities = ((-distances).exp() * others[:, :, None]).sum(1)  # (batch, num_kernels)
        return torch.cat([features, similarities.to(features.dtype)], dim=1)


class MinibatchStddev(nn.Module):
    """Appends one channel: the standard deviation over a group of images, averaged over channels and positions.

    For the images i = 1..n of a group, features k = 1..K, and the mean m_k over the group:

        s = 1 / K sum_k sqrt(1 / n sum_i (x_ik - m_k)^2 + 1e-8)

    A group consists of consecutive images. Its size n is the largest divisor of the batch size up to ``group_size``. If
    n = 1 (e.g. for a prime batch size above ``group_size``), s is the constant 1e-4.

    Args:
        group_size: the maximum number of images per group, at least 1.
    """

    def __init__(self, group_size: int = 4) -> None:
        super().__init__()
        self.group_size = group_size

    def forward(
        self, features: Float[Tensor, "batch channels *spatial"]
    ) -> Float[Tensor, "batch channels_and_one *spatial"]:
        """Append the standard deviation, computed in float32 or wider; it is equal for all images of a group."""
        batch, _, *spatial = features.shape
        size = next(n for n in range(min(self.group_size, batch), 0, -1) if batch % n == 0)
        groups = _at_least_float32(features).reshape(batch // size, size, -1)  # (groups, size, K)
        variances = (groups - groups.mean(1, keepdim=True)).square().mean(1)  # (groups, K)
        deviations = (variances + EPSILON).sqrt().mean(1).repeat_interleave(size)  # (batch,)
        channel = deviations.to(features.dtype).reshape(batch, 1, *(1 for _ in spatial)).expand(batch, 1, *spatial)
        return torch.cat([features, channel], dim=1)


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
