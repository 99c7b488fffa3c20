"""Conditioning of a denoiser on the noise level, the class and an image."""

import math
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.types import Classes, Images

Condition = Float[Tensor, "batch condition"]
BackboneInput = Float[Tensor, "batch in_channels height width"]
"""Noisy images, and images concatenated to them."""
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def sinusoidal_embedding(
    values: Float[Tensor, " batch"], features: int, max_period: float = 10_000.0
) -> Float[Tensor, "batch features"]:
    """Cosines and sines of numbers at frequencies from 1 down to 1 / max_period, spaced evenly in their logarithm.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5.

    Args:
        values: numbers scaled such that changes of about 1 matter.
        features: number of features, even.
        max_period: inverse of the lowest frequency.

    Returns:
        The features, cosines first.
    """
    half = features // 2
    frequencies = torch.exp(-math.log(max_period) * torch.arange(half, device=values.device) / half)
    angles = values.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)


class NoiseClassEmbedding(nn.Module):
    """An embedding of the noise level and, for a conditional network, of the class.

    Args:
        features: number of features of the embedding.
        width: number of sinusoidal features of the noise level, even.
        num_classes: number of classes; 0 for an unconditional network.
    """

    def __init__(self, features: int, width: int, num_classes: int = 0) -> None:
        super().__init__()
        self.width = width
        self.first, self.second = nn.Linear(width, features), nn.Linear(features, features)
        self.classes = nn.Linear(num_classes, features, bias=False) if num_classes else None
        if self.classes is not None:
            nn.init.normal_(self.classes.weight)

    def forward(self, noise: Float[Tensor, " batch"], classes: Classes | None = None) -> Condition:
        """Embed noise levels and class rows.

        Args:
            noise: the noise conditioning of each image.
            classes: class rows; zeros are the unconditional case of classifier-free guidance, and None is zeros for all
                images.

        Returns:
            (batch, features).
        """
        hidden = self.first(sinusoidal_embedding(noise, self.width).to(self.first.weight.dtype))
        condition = self.second(nn.functional.silu(hidden))
        if self.classes is not None and classes is not None:
            condition = condition + self.classes(classes.to(condition.dtype))
        return nn.functional.silu(condition)


class ConcatenatedInput(nn.Module):
    """A backbone conditioned on images, which are concatenated to the noisy images.

    Args:
        backbone: network F(x, noise) whose input has the channels of the noisy images and of the condition.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(
        self,
        images: Images,
        noise: Float[Tensor, " batch"],
        condition: Float[Tensor, "batch condition_channels height width"],
    ) -> Images:
        """Compute the network's output F.

        Args:
            images: noisy images.
            noise: the noise conditioning of each image.
            condition: the image on which each is conditioned, as high and wide.

        Returns:
            The prediction, of the shape of the noisy images.
        """
        return self.backbone(torch.cat([images, condition.to(images.dtype)], 1), noise)


def zero_init(layer: Layer) -> Layer:
    """Set the weights of a layer to zero, so that its residual branch starts as zero, and return the layer."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
