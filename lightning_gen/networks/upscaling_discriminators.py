"""Discriminators of super-resolution, which return the maps of their layers, the logits last."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.errors import InputError
from lightning_gen.networks.discriminator import Norm
from lightning_gen.networks.norms import apply_spectral_norm
from lightning_gen.types import Images, ImageShape

DiscriminatorKind = Literal["vgg", "unet"]
FeatureMap = Float[Tensor, "batch ..."]
MIN_SIDE = 8
MAX_MULTIPLE = 8
"""The largest number of channels, in multiples of the width."""
HIDDEN = 100
"""Width of the hidden linear layer of the VGG style."""


class VGGDiscriminator(nn.Module):
    """SRGAN's discriminator (Ledig et al. 2017, https://arxiv.org/abs/1609.04802): one logit per image.

    Pairs of a 3 x 3 convolution, which doubles the channels up to 8 times the width, and a 4 x 4 convolution, which
    halves the side until it is below 8, with LeakyReLU(0.2); then a hidden linear layer and the logit. With BatchNorm,
    images of 128 x 128 and a width of 64 it is the network of BasicSR (https://github.com/XPixelGroup/BasicSR).

    Args:
        image_shape: (channels, height, width) of at least 8 x 8.
        width: channels after the first convolution.
        norm: ``batch`` for BatchNorm after every convolution but the first, ``spectral`` for spectral normalisation of
            every layer, or ``none``.
        bias: whether the logit has a bias.

    Raises:
        InputError: if the images are smaller than 8 x 8.
    """

    def __init__(self, image_shape: ImageShape, width: int, norm: Norm, bias: bool = True) -> None:
        super().__init__()
        in_channels, height, columns = image_shape
        if min(height, columns) < MIN_SIDE:
            raise InputError(f"the discriminator needs images of at least 8x8 pixels, not {columns}x{height}")
        pairs: list[nn.Module] = []
        multiple = 1
        while min(height, columns) >= MIN_SIDE:
            channels = multiple * width
            layers = [*_block(in_channels, channels, 3, norm if pairs else _without_batch(norm))]
            pairs.append(nn.Sequential(*layers, *_block(channels, channels, 4, norm)))
            in_channels, height, columns = channels, height // 2, columns // 2
            multiple = min(2 * multiple, MAX_MULTIPLE)
        self.pairs = nn.ModuleList(pairs)
        self.hidden = nn.Sequential(
            nn.Flatten(), nn.Linear(in_channels * height * columns, HIDDEN), nn.LeakyReLU(0.2, inplace=True)
        )
        self.head = nn.Linear(HIDDEN, 1, bias=bias)
        if norm == "spectral":
            apply_spectral_norm(self)

    def forward(self, images: Images) -> list[FeatureMap]:
        """The maps of all pairs and of the hidden layer, and the logits (batch, 1)."""
        maps = [images]
        for layer in (*self.pairs, self.hidden, self.head):
            maps.append(layer(maps[-1]))
        return maps[1:]


class UNetDiscriminator(nn.Module):
    """Real-ESRGAN's discriminator (Wang et al. 2021, https://arxiv.org/abs/2107.10833, section 3.3): a logit per pixel.

    Three 4 x 4 convolutions halve the side and double the channels. On the way back, maps are enlarged bilinearly,
    convolved, and added to the map of the same resolution.

    Args:
        image_shape: (channels, height, width) of at least 8 x 8.
        width: channels at the resolution of the image.
        norm: ``spectral`` for spectral normalisation of all layers but the first and the last, or ``none``.
        bias: whether the logits have a bias.

    Raises:
        InputError: if the images are smaller than 8 x 8, or the norm is ``batch``.
    """

    def __init__(self, image_shape: ImageShape, width: int, norm: Norm, bias: bool = True) -> None:
        super().__init__()
        channels, height, columns = image_shape
        if min(height, columns) < MIN_SIDE:
            raise InputError(f"the discriminator needs images of at least 8x8 pixels, not {columns}x{height}")
        if norm == "batch":
            raise InputError("model.discriminator_norm is batch, and unet has no BatchNorm; use spectral or none")
        widths = [width * 2**i for i in range(4)]
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 4, 2, 1, bias=False) for i in range(len(widths) - 1)
        )
        self.up = nn.ModuleList(
            nn.Conv2d(widths[i + 1], widths[i], 3, padding=1, bias=False) for i in reversed(range(len(widths) - 1))
        )
        self.fusion = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.last = nn.Conv2d(width, 1, 3, padding=1, bias=bias)
        if norm == "spectral":
            for part in (self.down, self.up, self.fusion):
                apply_spectral_norm(part)

    def forward(self, images: Images) -> list[FeatureMap]:
        """The maps of all layers, and the logits (batch, 1, height, width)."""
        skips = [_activate(self.first(images))]
        for layer in self.down:
            skips.append(_activate(layer(skips[-1])))
        maps, features = [*skips], skips.pop()
        for layer in self.up:
            skip = skips.pop()
            enlarged = F.interpolate(features, skip.shape[-2:], mode="bilinear")
            features = _activate(layer(enlarged)) + skip
            maps.append(features)
        for layer in self.fusion:
            features = _activate(layer(features))
            maps.append(features)
        return [*maps, self.last(features)]


def make_upscaling_discriminator(
    kind: DiscriminatorKind, image_shape: ImageShape, width: int, norm: Norm | None, bias: bool
) -> nn.Module:
    """Build a discriminator; a norm of None is BatchNorm for ``vgg`` and spectral normalisation for ``unet``."""
    if kind == "vgg":
        return VGGDiscriminator(image_shape, width, norm or "batch", bias)
    return UNetDiscriminator(image_shape, width, norm or "spectral", bias)


def _block(in_channels: int, out_channels: int, size: int, norm: Norm) -> list[nn.Module]:
    stride = 1 if size == 3 else 2
    convolution = nn.Conv2d(in_channels, out_channels, size, stride, 1, bias=norm != "batch")
    normalisation = [nn.BatchNorm2d(out_channels)] if norm == "batch" else []
    return [convolution, *normalisation, nn.LeakyReLU(0.2, inplace=True)]


def _without_batch(norm: Norm) -> Norm:
    return "none" if norm == "batch" else norm


def _activate(features: Tensor) -> Tensor:
    return F.leaky_relu(features, 0.2)
