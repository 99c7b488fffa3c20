r"""The diffusion transformer DiT (Peebles and Xie 2023, https://arxiv.org/abs/2212.09748).

An image is split into patches, and each patch is a token with a fixed two-dimensional sinusoidal positional embedding.
Noise level and class modulate each block by scales, shifts and gates (adaLN-Zero, figure 3). The gates are initialised
to zero, so that every block starts as the identity.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.errors import InputError
from lightning_gen.networks.conditioning import (
    BackboneInput,
    Condition,
    NoiseClassEmbedding,
    sinusoidal_embedding,
    zero_init,
)
from lightning_gen.types import Classes, Images, ImageShape

Tokens = Float[Tensor, "batch tokens width"]
NOISE_FEATURES = 256
"""Number of sinusoidal features of the noise level."""
EXPANSION = 4
"""Hidden features of a block's MLP, as a multiple of the width."""


def positional_embedding(rows: int, columns: int, width: int) -> Float[Tensor, "tokens width"]:
    """Sinusoidal embedding of each patch's row (first half of the features) and column.

    Args:
        rows: number of rows of patches.
        columns: number of columns of patches.
        width: number of features, a multiple of 4.

    Returns:
        One vector per patch, in row-major order.
    """
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.cat([sinusoidal_embedding(axis.flatten().float(), width // 2) for axis in (row, column)], 1)


def modulate(tokens: Tokens, shift: Condition, scale: Condition) -> Tokens:
    """(1 + scale) LayerNorm(tokens) + shift, with a LayerNorm without parameters."""
    normed = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
    return torch.addcmul(shift[:, None], normed, 1 + scale[:, None])


class Block(nn.Module):
    """Self-attention and an MLP, both modulated and gated by the condition.

    Args:
        width: number of features of a token.
        heads: number of attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = zero_init(nn.Linear(width, 6 * width))
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, EXPANSION * width), nn.GELU(approximate="tanh"), nn.Linear(EXPANSION * width, width)
        )

    def forward(self, tokens: Tokens, condition: Condition) -> Tokens:
        """Transform tokens."""
        shift, scale, gate, shift_2, scale_2, gate_2 = self.modulation(condition).chunk(6, dim=1)
        tokens = tokens + gate[:, None] * self.attend(modulate(tokens, shift, scale))
        return tokens + gate_2[:, None] * self.mlp(modulate(tokens, shift_2, scale_2))

    def attend(self, tokens: Tokens) -> Tokens:
        """Self-attention."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.projection(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class DiT(nn.Module):
    """A diffusion transformer: noisy images, noise levels and class rows to images.

    Args:
        image_shape: (channels, height, width), both sides multiples of ``patch``.
        width: number of features of a token, a multiple of 4 and of ``heads``.
        depth: number of blocks.
        heads: number of attention heads.
        patch: side of a patch.
        num_classes: number of classes; 0 for an unconditional network.
        in_channels: number of input channels; None: those of the image.

    Attributes:
        multiple: number that divides the height and width of the images.

    Raises:
        InputError: if ``patch`` does not divide the image, or a value is out of range.
    """

    positions: Tensor

    def __init__(
        self,
        image_shape: ImageShape,
        width: int,
        depth: int = 6,
        heads: int = 4,
        patch: int = 2,
        num_classes: int = 0,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        channels, height, image_width = image_shape
        if patch < 1 or height % patch or image_width % patch:
            raise InputError(
                f"a DiT splits {height} x {image_width} images into patches of {patch} x {patch}, which do not fit; "
                "set data.image_size to a multiple of the patch"
            )
        if depth < 1 or heads < 1 or width < 4 or width % 4 or width % heads:
            raise InputError(
                f"a DiT needs a width divisible by 4 and by its heads, and at least 1 block, not width {width}, "
                f"{heads} heads and {depth} blocks"
            )
        self.multiple = patch
        self.grid = height // patch, image_width // patch
        self.patch_embedding = nn.Conv2d(in_channels or channels, width, patch, stride=patch)
        self.register_buffer("positions", positional_embedding(*self.grid, width), persistent=False)
        self.condition = NoiseClassEmbedding(width, NOISE_FEATURES, num_classes)
        self.blocks: Any = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.modulation = zero_init(nn.Linear(width, 2 * width))
        self.head = zero_init(nn.Linear(width, channels * patch**2))
        self.pixel_shuffle = nn.PixelShuffle(patch)

    def forward(self, images: BackboneInput, noise: Float[Tensor, " batch"], classes: Classes | None = None) -> Images:
        """See :meth:`UNet.forward`; images of another size have the positions of a larger or smaller grid."""
        condition = self.condition(noise, classes)
        patches = self.patch_embedding(images)  # (batch, width, rows, columns)
        grid = patches.shape[2], patches.shape[3]
        positions = self.positions
        if grid != self.grid:
            positions = positional_embedding(*grid, patches.shape[1]).to(positions)
        tokens = patches.flatten(2).transpose(1, 2) + positions
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.modulation(condition).chunk(2, dim=1)
        out = self.head(modulate(tokens, shift, scale)).transpose(1, 2)
        return self.pixel_shuffle(out.unflatten(2, grid))
