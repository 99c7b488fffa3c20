"""Normalisation of activations by class, and of weights by their largest singular value.

Conditional BatchNorm (Dumoulin et al. 2017, https://arxiv.org/abs/1610.07629; de Vries et al. 2017,
https://arxiv.org/abs/1707.00683; in GANs Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637), for class
weights y:

    h = (y G) (x - E x) / sqrt(Var x + eps) + y B

Spectral normalisation (Miyato et al. 2018, https://arxiv.org/abs/1802.05957), equation 8, with the largest singular
value estimated by one step of the power method a forward pass (algorithm 1):

    W_SN = W / sigma(W),    sigma(W) = max_h |W h| / |h| ~ u^T W v
"""

from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm

Network = TypeVar("Network", bound=nn.Module)


class ConditionalBatchNorm(nn.Module):
    """BatchNorm whose gain and bias belong to a class: y G and y B with G = 1 and B = 0 at first.

    The normalisation is an ``nn.BatchNorm2d`` of its own, so that conversion to SyncBatchNorm finds it.

    Args:
        channels: channels of the maps.
        num_classes: classes.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Parameter(torch.ones(num_classes, channels))
        self.bias = nn.Parameter(torch.zeros(num_classes, channels))

    def forward(
        self, maps: Float[Tensor, "batch channels height width"], classes: Float[Tensor, "batch num_classes"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalise maps.

        Args:
            maps: (batch, channels, height, width).
            classes: each image's weights over the classes, one-hot or a mixture, in [0, 1] with sum 1.

        Returns:
            Maps of the same shape.
        """
        gain, bias = classes @ self.gain, classes @ self.bias
        return gain[:, :, None, None] * self.norm(maps) + bias[:, :, None, None]


class _Float32SpectralNorm(_SpectralNorm):
    """PyTorch's spectral normalisation, kept out of autocast.

    Autocast would run the power method's matrix-vector products in half precision: sigma would be off by parts in a
    thousand, and u and v, which live on from step to step, would be rounded each time.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Divide a weight by its largest singular value.

        Args:
            weight: a layer's weight.

        Returns:
            The normalised weight, of the same shape and type.
        """
        with torch.autocast(weight.device.type, enabled=False):
            return super().forward(weight)


def spectrally_normalised(network: Network) -> Network:
    """Divide the weight of every linear, convolutional and embedding layer by its largest singular value, for good.

    A weight is a matrix of (outputs, all else), transposed convolutions included. Whatever draws initial weights must
    have run before; the power method starts with 15 steps here and takes one with each forward pass in training mode,
    none in evaluation mode. Layers that are normalised already are left alone.

    Args:
        network: the network; it is changed in place.

    Returns:
        The same network.
    """
    for layer in list(network.modules()):
        if not isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            continue
        if not parametrize.is_parametrized(layer, "weight"):
            outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
            parametrize.register_parametrization(layer, "weight", _Float32SpectralNorm(layer.weight, dim=outputs))
    return network
