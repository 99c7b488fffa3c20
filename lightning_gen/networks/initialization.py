"""Initialisations of the networks that translate images, by name."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from lightning_gen.networks.dcgan import init_weights

Initialization = Literal["normal", "xavier"]


def init_xavier(module: nn.Module) -> None:
    """Initialise a convolution by Xavier's normal distribution with gain 0.02, and its bias by 0.

    As in CUT (Park et al. 2020, https://arxiv.org/abs/2007.15651). Modules other than convolutions are unchanged.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_normal_(module.weight, gain=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


INITIALIZATIONS: dict[Initialization, Callable[[nn.Module], None]] = {"normal": init_weights, "xavier": init_xavier}
