"""The networks that denoise, by kind."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from lightning_gen.networks.dit import DiT
from lightning_gen.networks.unet import UNet
from lightning_gen.types import ImageShape

DenoiserKind = Literal["unet", "dit"]


def make_denoiser(
    kind: DenoiserKind,
    image_shape: ImageShape,
    num_classes: int,
    width: int,
    *,
    multipliers: Sequence[int],
    blocks: int,
    attention: Sequence[int],
    dropout: float,
    depth: int,
    heads: int,
    patch: int,
) -> nn.Module:
    """Build a network from noisy images, how noisy they are and their classes, to images.

    Args:
        kind: ``unet`` or ``dit``.
        image_shape: (channels, height, width).
        num_classes: classes; 0 for an unconditional network.
        width: channels of the UNet next to the image, features of the DiT's tokens.
        multipliers: of the UNet's width, one for each resolution.
        blocks: of the UNet at each resolution.
        attention: sides of the UNet's maps at which there is attention.
        dropout: of the UNet's blocks.
        depth: blocks of the DiT.
        heads: of the DiT's attention.
        patch: side of the DiT's patches.

    Returns:
        The network.

    Raises:
        InputError: when the network cannot be built for such images.
    """
    if kind == "unet":
        return UNet(image_shape, width, multipliers, blocks, attention, dropout, num_classes)
    return DiT(image_shape, width, depth, heads, patch, num_classes)
