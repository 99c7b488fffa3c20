"""Encoders and decoders by architecture."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from lightning_gen.checks import check_at_least
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
        image_shape: (channels, height, width) of the input.
        features: number of outputs.
        hidden: widths of the MLP's hidden layers, from the image to the latents.
        width: number of channels of the convolutional network next to the image.
        activation: activation of the MLP.

    Returns:
        The encoder, without an activation at its end.

    Raises:
        InputError: if a size is below 1.
    """
    check_at_least(1, width=width, hidden=min(hidden, default=1))
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
        image_shape: (channels, height, width) of the output.
        latent_dim: number of inputs.
        hidden: widths of the MLP's hidden layers, from the image to the latents.
        width: number of channels of the convolutional network next to the image.
        activation: activation of the MLP.

    Returns:
        The decoder, without an activation at its end.

    Raises:
        InputError: if a size is below 1.
    """
    check_at_least(1, latent_dim=latent_dim, width=width, hidden=min(hidden, default=1))
    if kind == "mlp":
        return MLPDecoder(latent_dim, image_shape, hidden, activation)
    return DCGANDecoder(latent_dim, image_shape, width)
