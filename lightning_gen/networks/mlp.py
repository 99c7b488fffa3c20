"""Fully connected encoder, decoder and discriminator (Hinton and Salakhutdinov 2006, https://doi.org/10.1126/science.1127647)."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.types import Images, ImageShape

Activation = Literal["relu", "tanh"]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def mlp(widths: Sequence[int], activation: Activation = "relu") -> nn.Sequential:
    """Linear layers with an activation between them and none after the last.

    With tanh, weights are initialised by Glorot and Bengio 2010 (https://proceedings.mlr.press/v9/glorot10a.html).

    Args:
        widths: numbers of features from input to output, at least two.
        activation: ``relu`` or ``tanh``.

    Returns:
        A module from (batch, widths[0]) to (batch, widths[-1]).
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        if activation == "tanh":  # the default initialisation of nn.Linear is for ReLU
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        layers += [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class MLPEncoder(nn.Module):
    """Images to features through fully connected layers.

    The input is rescaled to [0, 1], so that the black background of digits is 0 and does not saturate the first layer.

    Args:
        image_shape: (channels, height, width) of the images.
        features: number of outputs.
        hidden: widths of the hidden layers from the image on, e.g. (256, 128) for 784-256-128-32.
        activation: activation between the layers.
    """

    def __init__(
        self, image_shape: ImageShape, features: int, hidden: Sequence[int], activation: Activation = "relu"
    ) -> None:
        super().__init__()
        self.layers = mlp([prod(image_shape), *hidden, features], activation)

    def forward(self, images: Images) -> Float[Tensor, "batch features"]:
        """Encode images."""
        return self.layers((images.flatten(1) + 1) / 2)


class MLPBody(nn.Module):
    """Images to features with LeakyReLU 0.2: a discriminator without its last layer.

    Args:
        image_shape: (channels, height, width) of the images.
        hidden: widths of the layers.
        batch_norm: whether BatchNorm follows every layer but the first.
    """

    def __init__(self, image_shape: ImageShape, hidden: Sequence[int], batch_norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(pairwise([prod(image_shape), *hidden])):
            layers.append(nn.Linear(inputs, outputs))
            if batch_norm and i > 0:
                layers.append(nn.BatchNorm1d(outputs))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers)
        self.features = hidden[-1] if hidden else prod(image_shape)

    def forward(self, images: Images) -> Float[Tensor, "batch features"]:
        """Encode images."""
        return self.layers(images.flatten(1))


class MLPDecoder(nn.Module):
    """Latents to images through fully connected layers; the output has no activation.

    Args:
        latent_dim: number of inputs.
        image_shape: (channels, height, width) of the images.
        hidden: widths of the encoder's hidden layers, used in reverse order.
        activation: activation between the layers.
    """

    def __init__(
        self, latent_dim: int, image_shape: ImageShape, hidden: Sequence[int], activation: Activation = "relu"
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.layers = mlp([latent_dim, *reversed(hidden), prod(image_shape)], activation)

    def forward(self, latents: Float[Tensor, "batch latent"]) -> Images:
        """Decode latents."""
        return self.layers(latents).unflatten(1, self.image_shape)
