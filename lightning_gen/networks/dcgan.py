"""The all-convolutional networks of DCGAN (Radford et al. 2015, https://arxiv.org/abs/1511.06434).

The guidelines of the paper: strided convolutions instead of pooling, BatchNorm in all layers except the output of the
decoder and the input of the encoder, no hidden fully connected layers, ReLU in the decoder and LeakyReLU(0.2) in the
encoder, weights from N(0, 0.02^2). The last layer of the encoder, a convolution whose kernel covers the whole map, is
implemented as a linear layer of the flattened map.

The side is halved until it is below 8: 64 -> 32 -> 16 -> 8 -> 4, and 28 -> 14 -> 7. The decoder has the same sides in
reverse order, so that it produces every side from 8 to 128 exactly.
"""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.errors import InputError
from lightning_gen.types import Images, ImageShape

MIN_SIDE, MAX_SIDE = 8, 128


def map_sides(image_shape: ImageShape) -> list[int]:
    """Sides of the feature maps, from the side of the image down to one in 4..7.

    Args:
        image_shape: (channels, height, width).

    Returns:
        The sides, e.g. [32, 16, 8, 4].

    Raises:
        InputError: if the image is not square or its side is not in 8..128.
    """
    _, height, width = image_shape
    if height != width or not MIN_SIDE <= height <= MAX_SIDE:
        raise InputError(
            f"the convolutional networks support square images of {MIN_SIDE} to {MAX_SIDE} pixels, "
            f"not {height} x {width}; set data.image_size"
        )
    sides = [height]
    while sides[-1] >= 8:
        sides.append(sides[-1] // 2)
    return sides


class DCGANBody(nn.Module):
    """Strided 4 x 4 convolutions from images to flattened maps of side 4 to 7; each doubles the number of channels.

    Args:
        image_shape: (channels, side, side), side in 8..128.
        width: number of channels after the first convolution.
        batch_norm: whether BatchNorm follows each convolution except the first.

    Attributes:
        features: number of output features.
    """

    def __init__(self, image_shape: ImageShape, width: int, batch_norm: bool = True) -> None:
        super().__init__()
        sides = map_sides(image_shape)
        channels = [image_shape[0], *(width * 2**i for i in range(len(sides) - 1))]
        layers: list[nn.Module] = []
        for i, (in_channels, out_channels) in enumerate(pairwise(channels)):
            use_norm = batch_norm and i > 0
            layers.append(nn.Conv2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1, bias=not use_norm))
            if use_norm:
                layers.append(nn.BatchNorm2d(out_channels))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers)
        self.features = channels[-1] * sides[-1] ** 2
        self.apply(init_weights)

    def forward(self, images: Images) -> Float[Tensor, "batch features"]:
        """Encode images."""
        return self.layers(images).flatten(1)


class DCGANEncoder(nn.Module):
    """The body followed by a linear layer.

    Args:
        image_shape: (channels, side, side), side in 8..128.
        features: number of output features.
        width: number of channels after the first convolution.
    """

    def __init__(self, image_shape: ImageShape, features: int, width: int) -> None:
        super().__init__()
        self.body = DCGANBody(image_shape, width)
        self.head = nn.Linear(self.body.features, features)
        self.head.apply(init_weights)

    def forward(self, images: Images) -> Float[Tensor, "batch features"]:
        """Encode images."""
        return self.head(self.body(images))


class DCGANDecoder(nn.Module):
    """Strided 4 x 4 transposed convolutions from latents to images, without an output activation.

    Args:
        latent_dim: number of latent dimensions.
        image_shape: (channels, side, side), side in 8..128.
        width: number of channels before the last transposed convolution.
    """

    def __init__(self, latent_dim: int, image_shape: ImageShape, width: int) -> None:
        super().__init__()
        sides = map_sides(image_shape)[::-1]
        channels = [*(width * 2**i for i in reversed(range(len(sides) - 1))), image_shape[0]]
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, channels[0], kernel_size=sides[0], bias=False)]
        for (in_channels, out_channels), side in zip(pairwise(channels), sides[1:], strict=True):
            layers += [
                nn.BatchNorm2d(in_channels),
                nn.ReLU(inplace=True),
                nn.ConvTranspose2d(
                    in_channels,
                    out_channels,
                    kernel_size=4,
                    stride=2,
                    padding=1,
                    output_padding=side % 2,  # without it, the output side would be even
                    bias=side == sides[-1],
                ),
            ]
        self.layers = nn.Sequential(*layers)
        self.apply(init_weights)

    def forward(self, latents: Float[Tensor, "batch latent"]) -> Images:
        """Decode latents."""
        return self.layers(latents[:, :, None, None])


def init_weights(module: nn.Module) -> None:
    """Initialise a layer as in the paper: weights N(0, 0.02^2), BatchNorm's scale N(1, 0.02^2), biases 0.

    Modules other than convolutions, linear layers and BatchNorm are unchanged.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d | nn.Linear):
        nn.init.normal_(module.weight, mean=float(isinstance(module, nn.BatchNorm2d)), std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
