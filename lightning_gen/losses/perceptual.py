r"""The perceptual loss (Johnson et al. 2016, https://arxiv.org/abs/1603.08155): a distance of feature maps.

    L(x', x) = sum_l w_l mean |f_l(x') - f_l(x)|

with the maps f_l of a frozen network, or of the discriminator (feature matching, Wang et al. 2018,
https://arxiv.org/abs/1711.11585, equation 4).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Maps = Sequence[Float[Tensor, "batch ..."]]


def feature_distance(maps: Maps, targets: Maps, weights: Sequence[float]) -> Float[Tensor, ""]:
    """The weighted sum of the mean absolute differences of feature maps.

    Args:
        maps: maps of the images.
        targets: maps of the target images, of the same shapes.
        weights: weight of each map.

    Returns:
        A scalar; gradients flow into ``maps`` and ``targets``.
    """
    triples = zip(weights, maps, targets, strict=True)
    return torch.stack([weight * F.l1_loss(found, target) for weight, found, target in triples]).sum()
