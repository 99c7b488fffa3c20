r"""An autoregressive model of grids of codes: the gated PixelCNN (van den Oord et al. 2016).

https://arxiv.org/abs/1606.05328. The codes k of a grid are drawn row by row and from left to right,

    p(k) = prod_t p(k_t | k_1, ..., k_{t-1})

by two stacks of convolutions that see what is above and what is to the left (section 2.2, figure 1): the vertical stack
sees all rows above, whole, and the horizontal stack the row so far and the vertical stack, so that no code before the
present one is out of sight. Each convolution gives two halves that are gated (equation 2):

    y = tanh(a) sigmoid(b)

What a convolution must not see is not masked by zeros in its weights: its kernel ends where its sight does.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.errors import InputError
from lightning_gen.types import Codes

Maps = Float[Tensor, "batch width rows columns"]
Halves = Float[Tensor, "batch width2 rows columns"]
Logits = Float[Tensor, "batch codebook_size rows columns"]


class CausalConv(nn.Conv2d):
    """A convolution that sees no further than its own position; maps keep their size.

    Args:
        inputs: channels.
        outputs: channels.
        reach: how many rows or columns away it sees, at least 1.
        sight: ``above`` sees rows above, as far to the left as to the right; ``left`` sees its own row.
        own: whether ``above`` sees its own row too, and ``left`` its own position.
    """

    def __init__(self, inputs: int, outputs: int, reach: int, sight: Literal["above", "left"], own: bool) -> None:
        kernel = (reach + own, 2 * reach + 1) if sight == "above" else (1, reach + own)
        super().__init__(inputs, outputs, kernel)
        # left, right, top, bottom; -1 cuts the last row or column off
        self.pads = (reach, reach, reach, own - 1) if sight == "above" else (reach, own - 1, 0, 0)

    def forward(self, maps: Maps) -> Float[Tensor, "batch outputs rows columns"]:
        """Convolve maps."""
        return super().forward(F.pad(maps, self.pads))


class GatedLayer(nn.Module):
    """One layer of both stacks (figure 2 of the paper): the vertical stack's step and the horizontal stack's.

    Args:
        width: channels of both stacks.
        reach: how many rows or columns away the layer sees.
        first: whether the maps are embeddings of the codes themselves: then the layer sees none of its own row in the
            vertical and not its own position in the horizontal stack, and has no residual connection.
        dropout: share of the horizontal stack's gated values that are dropped in training.
    """

    def __init__(self, width: int, reach: int, first: bool, dropout: float) -> None:
        super().__init__()
        self.first = first
        self.above = CausalConv(width, 2 * width, reach, "above", own=not first)
        self.left = CausalConv(width, 2 * width, reach, "left", own=not first)
        self.link = nn.Conv2d(2 * width, 2 * width, kernel_size=1)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Conv2d(width, width, kernel_size=1)

    def step_down(self, maps: Maps) -> tuple[Maps, Halves]:
        """The vertical stack's next maps, and what the horizontal stack is given of them."""
        halves = self.above(maps)
        return _gated(halves), self.link(halves)

    def step_right(self, maps: Maps, link: Halves) -> Maps:
        """The horizontal stack's next maps."""
        new = self.out(self.dropout(_gated(self.left(maps) + link)))
        return new if self.first else maps + new


class GatedPixelCNN(nn.Module):
    """Logits of each code of a grid given the codes before it.

    It sees ``layers * (kernel_size // 2)`` rows up and columns to either side: all of a grid that is larger by at most
    one.

    Args:
        codebook_size: codes K.
        width: channels.
        layers: gated layers, at least 1.
        kernel_size: side of the convolutions' whole kernels, odd and at least 3.
        dropout: share of each layer's values that are dropped in training, in [0, 1).

    Raises:
        InputError: when a number is out of its range.
    """

    def __init__(self, codebook_size: int, width: int, layers: int, kernel_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        if layers < 1 or kernel_size < 3 or kernel_size % 2 == 0:
            raise InputError(
                f"model.prior_layers is {layers} and model.prior_kernel {kernel_size}; "
                "a PixelCNN needs at least 1 layer and an odd kernel of at least 3"
            )
        if not 0 <= dropout < 1:
            raise InputError(f"model.prior_dropout is {dropout}; it must be at least 0 and below 1")
        self.embedding = nn.Embedding(codebook_size, width)
        reach = kernel_size // 2
        self.layers: Any = nn.ModuleList(GatedLayer(width, reach, i == 0, dropout) for i in range(layers))
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, kernel_size=1), nn.ReLU(), nn.Conv2d(width, codebook_size, kernel_size=1)
        )

    def forward(self, codes: Codes) -> Logits:
        """The logits at each position, of which none depends on the code there or on one after it.

        Args:
            codes: (batch, rows, columns), each in [0, codebook_size).

        Returns:
            (batch, codebook_size, rows, columns).
        """
        return self.along(codes, self.down(codes))

    def down(self, codes: Codes) -> list[Halves]:
        """The vertical stack: what each layer hands to the horizontal one."""
        maps = self._embed(codes)
        links: list[Halves] = []
        for layer in self.layers:
            maps, link = layer.step_down(maps)
            links.append(link)
        return links

    def along(self, codes: Codes, links: Sequence[Halves]) -> Logits:
        """The horizontal stack and the head; each row by itself, given the vertical stack at that row."""
        maps = self._embed(codes)
        for layer, link in zip(self.layers, links, strict=True):
            maps = layer.step_right(maps, link)
        return self.head(maps)

    def _embed(self, codes: Codes) -> Maps:
        return self.embedding(codes).movedim(-1, 1)

    def log_likelihood(self, codes: Codes) -> Float[Tensor, " batch"]:
        """Log p(k), the sum over positions, in nats for each grid."""
        return -F.cross_entropy(self(codes).float(), codes, reduction="none").sum((1, 2))

    @torch.no_grad()
    def sample(self, uniforms: Float[Tensor, "batch rows columns"]) -> Codes:
        """Draw grids, code after code, each by the inverse of its cumulative distribution.

        Args:
            uniforms: one number in [0, 1) for each code to draw.

        Returns:
            Codes (batch, rows, columns).
        """
        codes = torch.zeros_like(uniforms, dtype=torch.int64)
        for row in range(uniforms.shape[1]):
            # the vertical stack is the same for all of a row, and needs no row below it
            links = [link[:, :, row:] for link in self.down(codes[:, : row + 1])]
            for column in range(uniforms.shape[2]):
                logits = self.along(codes[:, row : row + 1], links)[:, :, 0, column]
                codes[:, row, column] = inverse_cdf(logits, uniforms[:, row, column])
        return codes


def inverse_cdf(
    logits: Float[Tensor, "batch codebook_size"], uniforms: Float[Tensor, " batch"]
) -> Int64[Tensor, " batch"]:
    """The code at which the cumulative probability passes a uniform number.

    Args:
        logits: of each code.
        uniforms: in [0, 1).

    Returns:
        Codes, distributed as softmax(logits) where the numbers are uniform.
    """
    cumulative = logits.float().softmax(1).cumsum(1)
    return (
        (cumulative <= uniforms[:, None]).sum(1).clamp(max=logits.shape[1] - 1)
    )  # the sum may be rounded to less than 1


def _gated(halves: Halves) -> Maps:
    a, b = halves.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()
