"""Networks that make an image ``scale`` times as high and wide: SRResNet without or with BatchNorm, and RRDB.

Both extract features at the resolution of the input, and enlarge them at the end, by factors of 2 or by 3. Outputs are
linear; the caller clips them. Convolutions have 3 x 3 kernels and are padded with zeros. Weights called small below are
drawn from He's normal distribution and multiplied by 0.1, with biases of 0, so that residuals are small at first
(Wang et al. 2018, https://arxiv.org/abs/1809.00219, section 3.1).
"""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.errors import InputError
from lightning_gen.types import Images, Inputs

UpscalerKind = Literal["srresnet", "rrdb"]
UpscalerNorm = Literal["none", "batch"]
FACTORS = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}
"""The factors of the enlargements that make up each scale."""
RESIDUAL_SCALE = 0.2
"""Factor of the residuals of RRDB's blocks."""
Features = Float[Tensor, "batch width height_ width_"]


class Upscaler(nn.Module):
    """Base class of networks from images to larger images. Its layers are registered in the order of their use.

    Args:
        scale: 2, 3, 4 or 8.

    Raises:
        InputError: for another scale.

    Attributes:
        scale: the scale.
        input_multiple: number that must divide the height and the width of the input.
        blocks: the blocks at the resolution of the features.
    """

    input_multiple: int = 1
    blocks: nn.Sequential

    def __init__(self, scale: int) -> None:
        super().__init__()
        if scale not in FACTORS:
            raise InputError(
                f"the images are {scale} times as large as the inputs; super-resolution makes 2, 3, 4 or 8"
            )
        self.scale = scale

    @property
    def context(self) -> int:
        """The largest distance, in input pixels, of an input pixel from the pixels of the output that depend on it."""
        distances = []
        for pixel in range(self.input_multiple):
            low, high = dependencies(self.modules(), pixel * self.scale, (pixel + 1) * self.scale - 1)
            distances += [pixel - low, high - pixel]
        return max(distances)


class MSRResNet(Upscaler):
    """SRResNet (Ledig et al. 2017, https://arxiv.org/abs/1609.04802), which adds a residual to the interpolated input.

    Without norm it is the network of BasicSR (https://github.com/XPixelGroup/BasicSR): all weights are small, the
    blocks have ReLU and the other layers LeakyReLU(0.1), and the last but one convolution has the output's
    resolution. With BatchNorm it is closer to the paper's: BatchNorm and PReLU, and a connection around all blocks;
    the paper's first and last kernels are 9 x 9, and it interpolates nothing. The interpolation is bilinear.

    Args:
        channels: channels of inputs and outputs.
        scale: 2, 3, 4 or 8.
        width: channels of the features.
        blocks: number of residual blocks.
        norm: ``none`` or ``batch``.
    """

    def __init__(self, channels: int, scale: int, width: int = 64, blocks: int = 16, norm: UpscalerNorm = "none"):
        super().__init__(scale)
        self.first = nn.Sequential(conv(channels, width), _activation(norm))
        self.blocks = nn.Sequential(*(ResidualBlock(width, norm) for _ in range(blocks)))
        self.fusion = nn.Sequential(conv(width, width, bias=False), nn.BatchNorm2d(width)) if norm == "batch" else None
        self.enlarge = nn.Sequential(
            *(
                layer
                for factor in FACTORS[scale]
                for layer in (conv(width, factor**2 * width), nn.PixelShuffle(factor), _activation(norm))
            )
        )
        hidden = [conv(width, width), _activation(norm)] if norm == "none" else []
        self.last = nn.Sequential(*hidden, conv(width, channels))
        self.apply(init_small)

    def forward(self, inputs: Inputs) -> Images:
        """Enlarge images; the output is not clipped."""
        features = self.first(inputs)
        deep = self.blocks(features)
        if self.fusion is not None:
            deep = features + self.fusion(deep)
        residual: Tensor = self.last(self.enlarge(deep))
        return residual + F.interpolate(inputs, scale_factor=float(self.scale), mode="bilinear")


class ResidualBlock(nn.Module):
    """x + conv(activation(conv(x))), with BatchNorm after each convolution and PReLU, or with ReLU alone.

    Args:
        width: channels.
        norm: ``none`` or ``batch``.
    """

    def __init__(self, width: int, norm: UpscalerNorm) -> None:
        super().__init__()
        if norm == "batch":
            layers = [
                conv(width, width, bias=False),
                nn.BatchNorm2d(width),
                nn.PReLU(),
                conv(width, width, bias=False),
                nn.BatchNorm2d(width),
            ]
        else:
            layers = [conv(width, width), nn.ReLU(inplace=True), conv(width, width)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Features) -> Features:
        """Add the residual."""
        return features + self.layers(features)


class RRDBNet(Upscaler):
    """ESRGAN's residual-in-residual dense blocks (Wang et al. 2018, https://arxiv.org/abs/1809.00219, section 3.1).

    Features are enlarged by repetition of pixels and a convolution. At scale 2, 2 x 2 pixels of the input become
    channels (as in Real-ESRGAN, https://arxiv.org/abs/2107.10833), and the features are enlarged four times.

    Args:
        channels: channels of inputs and outputs.
        scale: 2, 3, 4 or 8.
        width: channels of the features; dense blocks grow by half as many.
        blocks: number of blocks.
    """

    def __init__(self, channels: int, scale: int, width: int = 64, blocks: int = 23) -> None:
        super().__init__(scale)
        self.input_multiple = 2 if scale == 2 else 1
        factors = FACTORS[scale * self.input_multiple]
        self.unshuffle = nn.PixelUnshuffle(self.input_multiple)
        self.first = conv(channels * self.input_multiple**2, width)
        self.blocks = nn.Sequential(*(RRDB(width, width // 2) for _ in range(blocks)))
        self.fusion = conv(width, width)
        self.enlarge = nn.Sequential(
            *(
                layer
                for factor in factors
                for layer in (nn.Upsample(scale_factor=factor), conv(width, width), nn.LeakyReLU(0.2, inplace=True))
            )
        )
        self.last = nn.Sequential(conv(width, width), nn.LeakyReLU(0.2, inplace=True), conv(width, channels))

    def forward(self, inputs: Inputs) -> Images:
        """Enlarge images; the output is not clipped."""
        features = self.first(self.unshuffle(inputs))
        return self.last(self.enlarge(features + self.fusion(self.blocks(features))))


class RRDB(nn.Module):
    """x + 0.2 f(x), where f is three dense blocks.

    Args:
        width: channels.
        growth: channels that each convolution of a dense block adds.
    """

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(DenseBlock(width, growth) for _ in range(3)))

    def forward(self, features: Features) -> Features:
        """Add the residual."""
        return features + RESIDUAL_SCALE * self.layers(features)


class DenseBlock(nn.Module):
    """x + 0.2 f(x), where f is five convolutions, each of the input and all outputs before it. Weights are small.

    Args:
        width: channels.
        growth: output channels of the first four convolutions.
    """

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        outputs = (growth, growth, growth, growth, width)
        self.layers = nn.ModuleList(conv(width + i * growth, out) for i, out in enumerate(outputs))
        self.apply(init_small)

    def forward(self, features: Features) -> Features:
        """Add the residual."""
        *hidden, last = self.layers
        dense = features
        for layer in hidden:
            dense = torch.cat([dense, F.leaky_relu(layer(dense), 0.2)], 1)
        return features + RESIDUAL_SCALE * last(dense)


def make_upscaler(
    kind: UpscalerKind, channels: int, scale: int, width: int, blocks: int | None, norm: UpscalerNorm
) -> Upscaler:
    """Build a network.

    Args:
        kind: ``srresnet`` or ``rrdb``.
        channels: channels of inputs and outputs.
        scale: 2, 3, 4 or 8.
        width: channels of the features.
        blocks: number of blocks; None: 16 of ``srresnet``, 23 of ``rrdb``.
        norm: ``none``, or ``batch`` for BatchNorm, which ``rrdb`` lacks.

    Returns:
        The network.

    Raises:
        InputError: for another scale, or ``rrdb`` with BatchNorm.
    """
    if kind == "srresnet":
        return MSRResNet(channels, scale, width, blocks or 16, norm)
    if norm != "none":
        raise InputError(f"model.norm is {norm}, and rrdb has no norm; use none")
    return RRDBNet(channels, scale, width, blocks or 23)


def dependencies(layers: Iterable[nn.Module], low: int, high: int) -> tuple[int, int]:
    """The first and the last input pixel of a row that the output pixels ``low`` to ``high`` depend on.

    Args:
        layers: the layers in the order of their use; shortcuts depend on no more pixels than what they surround.
        low: the first output pixel.
        high: the last output pixel.

    Returns:
        Positions in the input.
    """
    for layer in reversed(list(layers)):
        if isinstance(layer, nn.Conv2d):
            low, high = low - layer.kernel_size[0] // 2, high + layer.kernel_size[0] // 2
        elif isinstance(layer, nn.PixelShuffle | nn.Upsample):
            factor = layer.upscale_factor if isinstance(layer, nn.PixelShuffle) else int(layer.scale_factor)  # type: ignore[arg-type]
            low, high = low // factor, high // factor
        elif isinstance(layer, nn.PixelUnshuffle):
            low, high = low * layer.downscale_factor, (high + 1) * layer.downscale_factor - 1
    return low, high


def conv(in_channels: int, out_channels: int, bias: bool = True) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


def init_small(module: nn.Module) -> None:
    """Initialise a convolution from He's normal distribution (fan-in, gain sqrt(2)) times 0.1, with biases of 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        with torch.no_grad():
            module.weight.mul_(0.1)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _activation(norm: UpscalerNorm) -> nn.Module:
    return nn.PReLU() if norm == "batch" else nn.LeakyReLU(0.1, inplace=True)
