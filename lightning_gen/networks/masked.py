r"""The gated PixelCNN, an autoregressive model of grids of codes (van den Oord et al. 2016).

https://arxiv.org/abs/1606.05328. The codes k of a grid are modelled in raster order,

    p(k) = prod_t p(k_t | k_1, ..., k_{t-1})

by two stacks of convolutions (section 2.2, figure 1): the receptive field of the vertical stack is the rows above, and
that of the horizontal stack the codes to the left and the vertical stack, so there is no blind spot. Each convolution
has two halves of outputs, which are gated (equation 2):

    y = tanh(a) sigmoid(b)

Instead of masking weights, the kernels are cropped to the receptive field.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.checks import check_fraction
from lightning_gen.errors import InputError
from lightning_gen.types import Codes

Maps = Float[Tensor, "batch width rows columns"]
Halves = Float[Tensor, "batch width2 rows columns"]
Logits = Float[Tensor, "batch codebook_size rows columns"]


class CausalConv(nn.Conv2d):
    """A convolution whose receptive field ends at its own position; the size of the maps does not change.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        reach: number of rows or columns that the receptive field extends, at least 1.
        direction: ``above`` for the rows above, ``left`` for the codes to the left in the same row.
        include_self: whether ``above`` includes its own row, and ``left`` its own position.
    """

    def __init__(
        self, in_channels: int, out_channels: int, reach: int, direction: Literal["above", "left"], include_self: bool
    ) -> None:
        kernel = (reach + include_self, 2 * reach + 1) if direction == "above" else (1, reach + include_self)
        super().__init__(in_channels, out_channels, kernel)
        # left, right, top, bottom; -1 crops the last row or column
        self.pads = (reach, reach, reach, include_self - 1) if direction == "above" else (reach, include_self - 1, 0, 0)

    def forward(self, maps: Maps) -> Float[Tensor, "batch out_channels rows columns"]:
        """Convolve maps."""
        return super().forward(F.pad(maps, self.pads))


class GatedLayer(nn.Module):
    """One layer of both stacks (figure 2 of the paper).

    Args:
        width: number of channels of both stacks.
        reach: number of rows or columns that the receptive field extends.
        first: whether it is the first layer, whose receptive field excludes its own row (vertical stack) and its own
            position (horizontal stack), and which has no residual connection.
        dropout: dropout of the horizontal stack.
    """

    def __init__(self, width: int, reach: int, first: bool, dropout: float) -> None:
        super().__init__()
        self.first = first
        self.above = CausalConv(width, 2 * width, reach, "above", include_self=not first)
        self.left = CausalConv(width, 2 * width, reach, "left", include_self=not first)
        self.link = nn.Conv2d(2 * width, 2 * width, kernel_size=1)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Conv2d(width, width, kernel_size=1)

    def vertical(self, maps: Maps) -> tuple[Maps, Halves]:
        """The next maps of the vertical stack, and its input to the horizontal stack."""
        halves = self.above(maps)
        return _gated(halves), self.link(halves)

    def horizontal(self, maps: Maps, link: Halves) -> Maps:
        """The next maps of the horizontal stack."""
        new = self.out(self.dropout(_gated(self.left(maps) + link)))
        return new if self.first else maps + new


class GatedPixelCNN(nn.Module):
    """Logits of each code of a grid given the previous codes.

    The receptive field extends ``layers * (kernel_size // 2)`` rows up and columns to either side.

    Args:
        codebook_size: number of codes K.
        width: number of channels.
        layers: number of gated layers, at least 1.
        kernel_size: side of the uncropped kernels, odd and at least 3.
        dropout: dropout of each layer, in [0, 1).

    Raises:
        InputError: if a value is out of range.
    """

    def __init__(self, codebook_size: int, width: int, layers: int, kernel_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        if layers < 1 or kernel_size < 3 or kernel_size % 2 == 0:
            raise InputError(
                f"model.prior_layers is {layers} and model.prior_kernel {kernel_size}; "
                "a PixelCNN needs at least 1 layer and an odd kernel of at least 3"
            )
        check_fraction(prior_dropout=dropout)
        self.embedding = nn.Embedding(codebook_size, width)
        reach = kernel_size // 2
        self.layers: Any = nn.ModuleList(GatedLayer(width, reach, i == 0, dropout) for i in range(layers))
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, kernel_size=1), nn.ReLU(), nn.Conv2d(width, codebook_size, kernel_size=1)
        )

    def forward(self, codes: Codes) -> Logits:
        """The logits at each position, which do not depend on the code there or on later ones.

        Args:
            codes: (batch, rows, columns), each in [0, codebook_size).

        Returns:
            (batch, codebook_size, rows, columns).
        """
        return self.horizontal_stack(codes, self.vertical_stack(codes))

    def vertical_stack(self, codes: Codes) -> list[Halves]:
        """The inputs of the vertical stack to each layer of the horizontal stack."""
        maps = self._embed(codes)
        links: list[Halves] = []
        for layer in self.layers:
            maps, link = layer.vertical(maps)
            links.append(link)
        return links

    def horizontal_stack(self, codes: Codes, links: Sequence[Halves]) -> Logits:
        """The horizontal stack and the head; a row depends on other rows through the vertical stack only."""
        maps = self._embed(codes)
        for layer, link in zip(self.layers, links, strict=True):
            maps = layer.horizontal(maps, link)
        return self.head(maps)

    def _embed(self, codes: Codes) -> Maps:
        return self.embedding(codes).movedim(-1, 1)

    def log_likelihood(self, codes: Codes) -> Float[Tensor, " batch"]:
        """Log p(k), the sum over positions, in nats per grid."""
        return -F.cross_entropy(self(codes).float(), codes, reduction="none").sum((1, 2))

    @torch.no_grad()
    def sample(self, uniforms: Float[Tensor, "batch rows columns"]) -> Codes:
        """Sample grids code by code, by inverse transform sampling.

        Args:
            uniforms: one uniform number in [0, 1) per code.

        Returns:
            Codes (batch, rows, columns).
        """
        codes = torch.zeros_like(uniforms, dtype=torch.int64)
        for row in range(uniforms.shape[1]):
            # the vertical stack does not change within a row, and does not depend on the rows below
            links = [link[:, :, row:] for link in self.vertical_stack(codes[:, : row + 1])]
            for column in range(uniforms.shape[2]):
                logits = self.horizontal_stack(codes[:, row : row + 1], links)[:, :, 0, column]
                codes[:, row, column] = inverse_cdf(logits, uniforms[:, row, column])
        return codes


def inverse_cdf(
    logits: Float[Tensor, "batch codebook_size"], uniforms: Float[Tensor, " batch"]
) -> Int64[Tensor, " batch"]:
    """The code at which the cumulative probability exceeds a uniform number in [0, 1)."""
    cumulative = logits.float().softmax(1).cumsum(1)
    return (cumulative <= uniforms[:, None]).sum(1).clamp(max=logits.shape[1] - 1)  # rounding may give a total below 1


def _gated(halves: Halves) -> Maps:
    a, b = halves.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()
