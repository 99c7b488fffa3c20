"""What a denoiser is told besides the noisy image: how much noise there is, and the class."""

import math
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.types import Classes

Condition = Float[Tensor, "batch condition"]
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def sinusoids(
    values: Float[Tensor, " batch"], features: int, longest: float = 10_000.0
) -> Float[Tensor, "batch features"]:
    """Cosines and sines of a number at frequencies from 1 down to 1 / longest, evenly spaced in their logarithm.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5.

    Args:
        values: numbers, in a unit of which a change of 1 should be seen.
        features: how many, even.
        longest: inverse of the least frequency.

    Returns:
        The features, cosines first.
    """
    half = features // 2
    frequencies = torch.exp(-math.log(longest) * torch.arange(half, device=values.device) / half)
    angles = values.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)


class NoiseAndClass(nn.Module):
    """One vector that says how much noise there is and, for a conditional network, which class to make.

    Args:
        features: of the vector.
        width: sinusoids of the noise, even.
        num_classes: classes; 0 for no condition.
    """

    def __init__(self, features: int, width: int, num_classes: int = 0) -> None:
        super().__init__()
        self.width = width
        self.first, self.second = nn.Linear(width, features), nn.Linear(features, features)
        self.classes = nn.Linear(num_classes, features, bias=False) if num_classes else None
        if self.classes is not None:
            nn.init.normal_(self.classes.weight)

    def forward(self, noise: Float[Tensor, " batch"], classes: Classes | None = None) -> Condition:
        """Embed.

        Args:
            noise: how much there is, in the network's unit.
            classes: rows of the classes, zeros for none, as guidance without a classifier needs it; None is zeros for
                all.

        Returns:
            The vectors.
        """
        hidden = self.first(sinusoids(noise, self.width).to(self.first.weight.dtype))
        condition = self.second(nn.functional.silu(hidden))
        if self.classes is not None and classes is not None:
            condition = condition + self.classes(classes.to(condition.dtype))
        return nn.functional.silu(condition)


def zeroed(layer: Layer) -> Layer:
    """Set a layer's weights to zero, so that what it is added to begins as it was.

    Args:
        layer: the layer.

    Returns:
        The same layer.
    """
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
