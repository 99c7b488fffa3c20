"""An encoder and a decoder that fit one another, by kind."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from lightning_gen.networks.dcgan import DCGANDecoder, DCGANEncoder
from lightning_gen.networks.mlp import Activation, MLPDecoder, MLPEncoder
from lightning_gen.types import ImageShape

NetworkKind = Literal["mlp", "conv"]


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
    """
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
    """
    if kind == "mlp":
        return MLPDecoder(latent_dim, image_shape, hidden, activation)
    return DCGANDecoder(latent_dim, image_shape, width)
