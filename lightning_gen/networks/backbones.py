"""Backbones of denoisers."""

from collections.abc import Sequence
from typing import Literal

from lightning_gen.networks.dit import DiT
from lightning_gen.networks.unet import UNet
from lightning_gen.types import ImageShape

BackboneKind = Literal["unet", "dit"]


def make_backbone(
    kind: BackboneKind,
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
    in_channels: int | None = None,
) -> UNet | DiT:
    """Build a network from noisy images, noise levels and class rows to images.

    Args:
        kind: ``unet`` or ``dit``.
        image_shape: (channels, height, width).
        num_classes: number of classes; 0 for an unconditional network.
        width: number of channels of the UNet next to the image, or of features of the DiT's tokens.
        multipliers: multipliers of the UNet's width, one per resolution.
        blocks: number of residual blocks of the UNet per resolution.
        attention: sides of the UNet's feature maps with self-attention.
        dropout: dropout of the UNet's blocks.
        depth: number of blocks of the DiT.
        heads: number of attention heads of the DiT.
        patch: side of the DiT's patches.
        in_channels: number of input channels; None: those of the image.

    Returns:
        The network.

    Raises:
        InputError: if the architecture does not support the image size.
    """
    if kind == "unet":
        return UNet(image_shape, width, multipliers, blocks, attention, dropout, num_classes, in_channels)
    return DiT(image_shape, width, depth, heads, patch, num_classes, in_channels)
