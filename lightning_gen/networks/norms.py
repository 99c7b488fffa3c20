"""Conditional batch normalisation and spectral normalisation.

Conditional BatchNorm (Dumoulin et al. 2017, https://arxiv.org/abs/1610.07629; de Vries et al. 2017,
https://arxiv.org/abs/1707.00683; in GANs Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637), for class
weights y:

    h = (y G) (x - E x) / sqrt(Var x + eps) + y B

Spectral normalisation (Miyato et al. 2018, https://arxiv.org/abs/1802.05957), equation 8, where the largest singular
value is estimated by one power iteration per forward pass (algorithm 1):

    W_SN = W / sigma(W),    sigma(W) = max_h |W h| / |h| ~ u^T W v
"""

from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm

from lightning_gen.types import Classes

Module = TypeVar("Module", bound=nn.Module)
MapNorm = Literal["none", "instance", "batch"]


def make_norm(kind: MapNorm, channels: int) -> nn.Module:
    """A normalisation of feature maps.

    Args:
        kind: ``instance``: each map of each image to mean 0 and variance 1, without learned parameters (Ulyanov et al.
            2016, https://arxiv.org/abs/1607.08022); ``batch``: BatchNorm; ``none``: the identity.
        channels: number of channels.

    Returns:
        The layer.
    """
    if kind == "instance":
        return nn.InstanceNorm2d(channels)
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.Identity()


class ConditionalBatchNorm(nn.Module):
    """BatchNorm with a gain and a bias per class: y G and y B, initially G = 1 and B = 0.

    The statistics are those of a submodule ``nn.BatchNorm2d``, which ``convert_sync_batchnorm`` replaces.

    Args:
        channels: number of channels.
        num_classes: number of classes.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Parameter(torch.ones(num_classes, channels))
        self.bias = nn.Parameter(torch.zeros(num_classes, channels))

    def forward(
        self, maps: Float[Tensor, "batch channels height width"], classes: Classes
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalise feature maps, given class weights in [0, 1] with sum 1 for each image."""
        gain, bias = classes @ self.gain, classes @ self.bias
        return gain[:, :, None, None] * self.norm(maps) + bias[:, :, None, None]


class _Float32SpectralNorm(_SpectralNorm):
    """PyTorch's spectral normalisation with autocast disabled.

    Under autocast, the matrix-vector products of the power iteration would run in half precision: sigma would have a
    relative error of about 1e-3, and u and v, which persist between steps, would be rounded in each step.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """The weight divided by its largest singular value."""
        with torch.autocast(weight.device.type, enabled=False):
            return super().forward(weight)


def apply_spectral_norm(network: Module) -> Module:
    """Apply spectral normalisation to the weight of every linear, convolutional and embedding layer, in place.

    A weight is reshaped to a matrix (outputs, all other dimensions), also in transposed convolutions. The weights must
    be initialised before: the power iteration starts here with 15 steps. It takes one step per forward pass in training
    mode and none in evaluation mode. Layers that are already parametrised are unchanged.

    Args:
        network: the network to change.

    Returns:
        The same network.
    """
    for layer in list(network.modules()):
        if not isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            continue
        if not parametrize.is_parametrized(layer, "weight"):
            output_dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
            parametrize.register_parametrization(layer, "weight", _Float32SpectralNorm(layer.weight, dim=output_dim))
    return network
