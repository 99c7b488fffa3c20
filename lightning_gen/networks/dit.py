r"""The diffusion transformer DiT (Peebles and Xie 2023, https://arxiv.org/abs/2212.09748).

An image is cut into patches, each a token with fixed two-dimensional sinusoids of its place. Noise and class come in as
scales, shifts and gates of each block (adaLN-Zero, figure 3), and the gates begin at zero, so that every block begins
as the identity.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.errors import InputError
from lightning_gen.networks.conditioning import Condition, NoiseAndClass, sinusoids, zeroed
from lightning_gen.types import Classes, Images, ImageShape

Tokens = Float[Tensor, "batch tokens width"]
NOISE_FEATURES = 256
"""Sinusoids of the noise."""
EXPANSION = 4
"""Hidden features of a block's perceptron, in widths."""


def places(rows: int, columns: int, width: int) -> Float[Tensor, "tokens width"]:
    """Sinusoids of each patch's row and column.

    Args:
        rows: of patches.
        columns: of patches.
        width: features, a multiple of 4; half are of the row.

    Returns:
        One vector for each patch, row by row.
    """
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.cat([sinusoids(axis.flatten().float(), width // 2) for axis in (row, column)], 1)


def modulated(tokens: Tokens, shift: Condition, scale: Condition) -> Tokens:
    """(1 + scale) LayerNorm(tokens) + shift, the norm without parameters of its own."""
    normed = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
    return torch.addcmul(shift[:, None], normed, 1 + scale[:, None])


class Block(nn.Module):
    """Attention and a perceptron, both modulated and gated by the condition.

    Args:
        width: features of a token.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, EXPANSION * width), nn.GELU(approximate="tanh"), nn.Linear(EXPANSION * width, width)
        )

    def forward(self, tokens: Tokens, condition: Condition) -> Tokens:
        """Transform tokens."""
        shift, scale, gate, shift_2, scale_2, gate_2 = self.modulation(condition).chunk(6, dim=1)
        tokens = tokens + gate[:, None] * self.attend(modulated(tokens, shift, scale))
        return tokens + gate_2[:, None] * self.perceptron(modulated(tokens, shift_2, scale_2))

    def attend(self, tokens: Tokens) -> Tokens:
        """Self-attention."""
        query, key, value = self.into(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class DiT(nn.Module):
    """Noisy images, how noisy they are and their classes, to images.

    Args:
        image_shape: (channels, height, width), both sides multiples of ``patch``.
        width: features of a token, a multiple of 4 and of ``heads``.
        depth: blocks.
        heads: of the attention.
        patch: side of a patch.
        num_classes: classes; 0 for an unconditional network.

    Raises:
        InputError: when the images cannot be cut into patches, or a number is out of its range.
    """

    places: Tensor

    def __init__(
        self, image_shape: ImageShape, width: int, depth: int = 6, heads: int = 4, patch: int = 2, num_classes: int = 0
    ) -> None:
        super().__init__()
        channels, height, width_of_image = image_shape
        if patch < 1 or height % patch or width_of_image % patch:
            raise InputError(
                f"a DiT cuts {height} x {width_of_image} images into patches of {patch} x {patch}, which do not fit; "
                "set data.image_size to a multiple of the patch"
            )
        if depth < 1 or heads < 1 or width < 4 or width % 4 or width % heads:
            raise InputError(
                f"a DiT has a width that is a multiple of 4 and of its heads, and a block or more, not width {width}, "
                f"{heads} heads and {depth} blocks"
            )
        rows, columns = height // patch, width_of_image // patch
        self.cut = nn.Conv2d(channels, width, patch, stride=patch)
        self.register_buffer("places", places(rows, columns, width), persistent=False)
        self.condition = NoiseAndClass(width, NOISE_FEATURES, num_classes)
        self.blocks: Any = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.last = zeroed(nn.Linear(width, channels * patch**2))
        self.join = nn.Sequential(nn.Unflatten(2, (rows, columns)), nn.PixelShuffle(patch))

    def forward(self, images: Images, noise: Float[Tensor, " batch"], classes: Classes | None = None) -> Images:
        """Look at noisy images; see :meth:`UNet.forward`."""
        condition = self.condition(noise, classes)
        tokens = self.cut(images).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.modulation(condition).chunk(2, dim=1)
        return self.join(self.last(modulated(tokens, shift, scale)).transpose(1, 2))
