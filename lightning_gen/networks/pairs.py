"""An encoder and a decoder that fit one another, by kind."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from lightning_gen.errors import InputError
from lightning_gen.networks.dcgan import DCGANDecoder, DCGANEncoder
from lightning_gen.networks.mlp import Activation, MLPDecoder, MLPEncoder
from lightning_gen.types import ImageShape

NetworkKind = Literal["mlp", "conv"]


def at_least_one(**sizes: int) -> None:
    """Refuse sizes of which nothing can be made.

    Args:
        **sizes: by the hyper-parameter's name.

    Raises:
        InputError: naming the first below 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"model.{name} is {size}; it must be at least 1")


def make_encoder(
    kind: NetworkKind,
    image_shape: ImageShape,
    features: int,
    hidden: Sequence[int],
    width: int,
    activation: Activation = "relu",
) -> nn.Module:
    """Build an encoder from images to features.

    Args:
        kind: ``mlp``, or ``conv`` for DCGAN's network.
        image_shape: (channels, height, width) of what it sees.
        features: its outputs.
        hidden: widths of the MLP's hidden layers, from the image's side.
        width: channels of the convolutional network next to the image.
        activation: between the MLP's layers.

    Returns:
        The encoder; it has no activation at its end.

    Raises:
        InputError: when a size is below 1.
    """
    at_least_one(width=width, hidden=min(hidden, default=1))
    if kind == "mlp":
        return MLPEncoder(image_shape, features, hidden, activation)
    return DCGANEncoder(image_shape, features, width)


def make_decoder(
    kind: NetworkKind,
    image_shape: ImageShape,
    latent_dim: int,
    hidden: Sequence[int],
    width: int,
    activation: Activation = "relu",
) -> nn.Module:
    """Build a decoder from latents to images.

    Args:
        kind: ``mlp``, or ``conv`` for DCGAN's network.
        image_shape: (channels, height, width) of what it makes.
        latent_dim: its inputs.
        hidden: widths of the MLP's hidden layers, from the image's side.
        width: channels of the convolutional network next to the image.
        activation: between the MLP's layers.

    Returns:
        The decoder; it has no activation at its end.

    Raises:
        InputError: when a size is below 1.
    """
    at_least_one(latent_dim=latent_dim, width=width, hidden=min(hidden, default=1))
    if kind == "mlp":
        return MLPDecoder(latent_dim, image_shape, hidden, activation)
    return DCGANDecoder(latent_dim, image_shape, width)
