"""The networks of the VQ-VAE (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937, section 4.1)."""

from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.networks.masked import GatedPixelCNN
from lightning_gen.networks.vq import Maps, VectorQuantiser
from lightning_gen.noise import uniform
from lightning_gen.types import Codes, Images, RandomSource

RESIDUAL_BLOCKS = 2


class VectorQuantisedAutoencoder(nn.Module):
    """Encoder, quantiser, decoder, and an autoregressive prior of the codes.

    Args:
        encoder: images to grids of vectors.
        quantiser: vectors to codes of a codebook.
        decoder: grids of vectors to images.
        prior: distribution of the grids of codes.
        grid: (rows, columns) of codes per image.
    """

    def __init__(
        self,
        encoder: "GridEncoder",
        quantiser: VectorQuantiser,
        decoder: "GridDecoder",
        prior: GatedPixelCNN,
        grid: tuple[int, int],
    ) -> None:
        super().__init__()
        self.encoder, self.quantiser, self.decoder, self.prior = encoder, quantiser, decoder, prior
        self.grid = grid

    def tokenize(self, images: Images) -> Codes:
        """Codes (batch, rows, columns) of images, each in [0, codebook_size)."""
        return self.quantiser.nearest(self.encoder(images))

    def embed(self, codes: Codes) -> Maps:
        """Codebook vectors (batch, code_dim, rows, columns) of codes."""
        return self.quantiser.embed(codes)

    def decode(self, vectors: Maps) -> Images:
        """Images in [-1, 1] of grids of vectors, which need not be codebook vectors."""
        return self.decoder(vectors).clamp(-1, 1)

    def sample_codes(self, num: int, generator: RandomSource = None) -> Codes:
        """Sample codes from the prior."""
        device = self.quantiser.counts.device
        return self.prior.sample(uniform(num, *self.grid, generator=generator, device=device))


class Residual(nn.Module):
    """The paper's residual block: ReLU, 3 x 3, ReLU, 1 x 1, beside the identity.

    Args:
        width: number of channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=1),
        )

    def forward(self, maps: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch width rows columns"]:
        """Transform maps."""
        return maps + self.layers(maps)


def residuals(width: int) -> nn.Sequential:
    """The paper's two residual blocks, and a ReLU."""
    return nn.Sequential(*(Residual(width) for _ in range(RESIDUAL_BLOCKS)), nn.ReLU())


class GridEncoder(nn.Module):
    """Images to grids of vectors: strided 4 x 4 convolutions, each followed by a ReLU, residual blocks, and 1 x 1.

    Args:
        channels: number of channels of the images.
        code_dim: length of a vector.
        width: number of hidden channels.
        halvings: number of times the side is halved.
    """

    def __init__(self, channels: int, code_dim: int, width: int, halvings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(halvings):
            inputs = width if i else channels
            layers += [nn.Conv2d(inputs, width, kernel_size=4, stride=2, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, residuals(width), nn.Conv2d(width, code_dim, kernel_size=1))

    def forward(self, images: Images) -> Maps:
        """Encode images."""
        return self.layers(images)


class GridDecoder(nn.Module):
    """Grids of vectors to images: 3 x 3, residual blocks, strided 4 x 4 transposed convolutions.

    The output is unbounded: a tanh would saturate at the black background before the codes are learned, and its
    gradient would vanish.

    Args:
        code_dim: length of a vector.
        channels: number of channels of the images.
        width: number of hidden channels.
        halvings: number of times the side is doubled.
    """

    def __init__(self, code_dim: int, channels: int, width: int, halvings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(code_dim, width, kernel_size=3, padding=1), residuals(width)]
        for _ in range(halvings - 1):
            layers += [nn.ConvTranspose2d(width, width, kernel_size=4, stride=2, padding=1), nn.ReLU()]
        last = nn.ConvTranspose2d(width, channels, kernel_size=4, stride=2, padding=1)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, maps: Maps) -> Images:
        """Decode grids."""
        return self.layers(maps)
