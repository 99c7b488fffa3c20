"""An encoder and a decoder that fit one another, by kind."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from lightning_gen.networks.dcgan import DCGANDecoder, DCGANEncoder
from lightning_gen.networks.mlp import MLPDecoder, MLPEncoder
from lightning_gen.types import ImageShape

NetworkKind = Literal["mlp", "conv"]


def encoder_decoder(
    kind: NetworkKind, image_shape: ImageShape, features: int, latent_dim: int, hidden: Sequence[int], width: int
) -> tuple[nn.Module, nn.Module]:
    """Build an encoder from images to features and a decoder from latents to images.

    Args:
        kind: ``mlp``, or ``conv`` for DCGAN's networks.
        image_shape: (channels, height, width).
        features: the encoder's outputs.
        latent_dim: the decoder's inputs.
        hidden: widths of the MLP's hidden layers, from the image's side.
        width: channels of the convolutional networks next to the image.

    Returns:
        The encoder and the decoder; neither has an activation at its end.
    """
    if kind == "mlp":
        return MLPEncoder(image_shape, features, hidden), MLPDecoder(latent_dim, image_shape, hidden)
    return DCGANEncoder(image_shape, features, width), DCGANDecoder(latent_dim, image_shape, width)
