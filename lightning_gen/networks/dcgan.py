"""The all-convolutional networks of DCGAN (Radford et al. 2015, https://arxiv.org/abs/1511.06434).

Their guidelines: strided convolutions in place of pooling, BatchNorm everywhere but at the decoder's output and the
encoder's input, no hidden fully connected layers, ReLU in the decoder and LeakyReLU(0.2) in the encoder, weights from
N(0, 0.02^2). The last layer of the encoder is a convolution with a kernel as large as its map, which is a linear layer
of the flattened map.

A side is halved until it is below 8: 64 -> 32 -> 16 -> 8 -> 4, and 28 -> 14 -> 7. The decoder walks the same sizes
back, so every side from 8 to 128 is met exactly.
"""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.errors import InputError
from lightning_gen.types import Images, ImageShape

MIN_SIDE, MAX_SIDE = 8, 128


def halvings(image_shape: ImageShape) -> list[int]:
    """The sides that an image passes through, from its own down to one in 4..7.

    Args:
        image_shape: (channels, height, width).

    Returns:
        The sides, e.g. [32, 16, 8, 4].

    Raises:
        InputError: when the image is not square or its side is not in 8..128.
    """
    _, height, width = image_shape
    if height != width or not MIN_SIDE <= height <= MAX_SIDE:
        raise InputError(
            f"a convolutional network of this kind makes square images of {MIN_SIDE} to {MAX_SIDE} pixels, "
            f"not {height} x {width}; set data.image_size"
        )
    sides = [height]
    while sides[-1] >= 8:
        sides.append(sides[-1] // 2)
    return sides


class DCGANBody(nn.Module):
    """Images to a flat map of side 4 to 7: strided 4 x 4 convolutions, the width doubling as the side halves.

    Args:
        image_shape: (channels, side, side), side in 8..128.
        width: channels after the first convolution.
        batch_norm: whether all convolutions but the first are followed by BatchNorm.
    """

    def __init__(self, image_shape: ImageShape, width: int, batch_norm: bool = True) -> None:
        super().__init__()
        sides = halvings(image_shape)
        widths = [image_shape[0], *(width * 2**i for i in range(len(sides) - 1))]
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            normed = batch_norm and i > 0
            layers.append(nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=not normed))
            if normed:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers)
        self.features = widths[-1] * sides[-1] ** 2
        self.apply(initialise)

    def forward(self, images: Images) -> Float[Tensor, "batch features"]:
        """Encode images."""
        return self.layers(images).flatten(1)


class DCGANEncoder(nn.Module):
    """Images to features: the body and a layer that sees its whole map.

    Args:
        image_shape: (channels, side, side), side in 8..128.
        features: outputs.
        width: channels after the first convolution.
    """

    def __init__(self, image_shape: ImageShape, features: int, width: int) -> None:
        super().__init__()
        self.body = DCGANBody(image_shape, width)
        self.head = nn.Linear(self.body.features, features)
        self.head.apply(initialise)

    def forward(self, images: Images) -> Float[Tensor, "batch features"]:
        """Encode images."""
        return self.head(self.body(images))


class DCGANDecoder(nn.Module):
    """Latents to images: strided 4 x 4 transposed convolutions; the output has no activation.

    Args:
        latent_dim: inputs.
        image_shape: (channels, side, side), side in 8..128.
        width: channels before the last transposed convolution.
    """

    def __init__(self, latent_dim: int, image_shape: ImageShape, width: int) -> None:
        super().__init__()
        sides = halvings(image_shape)[::-1]
        widths = [*(width * 2**i for i in reversed(range(len(sides) - 1))), image_shape[0]]
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, widths[0], kernel_size=sides[0], bias=False)]
        for (inputs, outputs), side in zip(pairwise(widths), sides[1:], strict=True):
            last = side == sides[-1]
            layers += [
                nn.BatchNorm2d(inputs),
                nn.ReLU(inplace=True),
                # an odd side needs one more row than twice its half
                nn.ConvTranspose2d(
                    inputs, outputs, kernel_size=4, stride=2, padding=1, output_padding=side % 2, bias=last
                ),
            ]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, latents: Float[Tensor, "batch latent"]) -> Images:
        """Decode latents."""
        return self.layers(latents[:, :, None, None])


def initialise(module: nn.Module) -> None:
    """Draw a layer's weights as the paper does: N(0, 0.02^2), BatchNorm's scale N(1, 0.02^2), biases 0.

    Args:
        module: the layer; other kinds than convolutions, linear layers and BatchNorm are left alone.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d | nn.Linear):
        nn.init.normal_(module.weight, mean=float(isinstance(module, nn.BatchNorm2d)), std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
