r"""The vector-quantised autoencoder and its prior (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937).

An encoder maps an image x to a grid of vectors z, each is replaced by its nearest code e of a learned codebook, and a
decoder maps the codes' vectors back. With mean squares over all pixels and over all entries of the grid:

    L = |x - D(e)|^2 + beta |z - sg[e]|^2 - log p(k)

The third term of the paper's equation 3, which pulls the codes to the vectors, is done by moving averages of these
(appendix A.1). The last term trains the prior, a gated PixelCNN of the numbers k of the codes. The paper trains it
afterwards; here it learns beside the autoencoder, which knows nothing of it: numbers have no gradient, so each term
reaches its own networks alone.
"""

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from lightning_gen.errors import InputError
from lightning_gen.models.base import DescentModule
from lightning_gen.models.latents import LatentPrior
from lightning_gen.networks.masked import GatedPixelCNN
from lightning_gen.networks.pairs import at_least_one
from lightning_gen.networks.vq import Maps, VectorQuantiser, perplexity
from lightning_gen.noise import uniform
from lightning_gen.types import Batch, Codes, Images, ImageShape, Labels, Latents, Loss, Randomness

RESIDUAL_BLOCKS = 2


class VQVAE(LatentPrior, DescentModule):
    """Images as grids of codes: a convolutional autoencoder, a quantiser between its halves, and a prior of the codes.

    One Adam trains both the autoencoder and the prior. Adam's steps do not depend on the scale of a loss, so that the
    prior's nats need no weight; only clipping by the norm of all gradients would bind the two together.

    Args:
        image_shape: (channels, height, width), both sides multiples of ``downsample``.
        codebook_size: codes K.
        code_dim: length of a code.
        downsample: pixels to a code along each side.
        width: channels of encoder and decoder; the paper has 256.
        commitment: beta, the weight of the commitment term.
        codebook_decay: what a batch leaves of the codebook's old averages, in [0, 1).
        revive_below: share of even use below which a code counts as dead and is seeded anew, in [0, 1).
        prior_width: channels of the prior.
        prior_layers: gated layers of the prior.
        prior_kernel: side of the prior's kernels, odd; it sees ``prior_layers * (prior_kernel // 2)`` codes far.
        prior_dropout: dropout in the prior, in [0, 1), against learning few images by heart.
        lr: Adam's learning rate.
        prior_lr: that of the prior; ``lr`` when None.
        **kwargs: see :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        codebook_size: int = 512,
        code_dim: int = 64,
        downsample: Literal[2, 4, 8] = 4,
        width: int = 128,
        commitment: float = 0.25,
        codebook_decay: float = 0.99,
        revive_below: float = 0.03,
        prior_width: int = 64,
        prior_layers: int = 5,
        prior_kernel: int = 5,
        prior_dropout: float = 0.0,
        lr: float = 1e-3,
        prior_lr: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        channels, height, width_of_image = self.image_shape
        if height % downsample or width_of_image % downsample:
            raise InputError(
                f"model.downsample is {downsample} and does not divide images of {height} x {width_of_image}; "
                f"set data.image_size to a multiple of {downsample}"
            )
        if codebook_size < 2 or commitment < 0:
            raise InputError(
                f"model.codebook_size is {codebook_size} and model.commitment {commitment}; "
                "there must be at least 2 codes, and no negative weight"
            )
        at_least_one(code_dim=code_dim, width=width, prior_width=prior_width)
        if not (0 <= codebook_decay < 1 and 0 <= revive_below < 1):
            raise InputError(
                f"model.codebook_decay is {codebook_decay} and model.revive_below {revive_below}; "
                "both must be at least 0 and below 1"
            )
        self.codebook_size, self.commitment = codebook_size, commitment
        self.lr, self.prior_lr = lr, lr if prior_lr is None else prior_lr
        self.grid = (height // downsample, width_of_image // downsample)
        halvings = downsample.bit_length() - 1
        self.networks = Networks(
            GridEncoder(channels, code_dim, width, halvings),
            VectorQuantiser(codebook_size, code_dim, codebook_decay, revive_below),
            GridDecoder(code_dim, channels, width, halvings),
            GatedPixelCNN(codebook_size, prior_width, prior_layers, prior_kernel, prior_dropout),
        )
        self.quantised: tuple[Maps, Codes] | None = None
        self.follow()

    def producer(self) -> nn.Module:
        """Encoder, quantiser, decoder and prior: a sample needs the last three, and codes the first two."""
        return self.networks

    def configure_optimizers(self) -> Any:
        """Adam, the prior with its own rate."""
        encoder, decoder, prior = self.networks.encoder, self.networks.decoder, self.networks.prior
        autoencoder = [*encoder.parameters(), *decoder.parameters()]
        groups: list[dict[str, Any]] = [{"params": autoencoder}, {"params": prior.parameters(), "lr": self.prior_lr}]
        return self.scheduled(Adam(groups, self.lr))

    def loss(self, batch: Batch) -> Loss:
        """The reconstruction's and the commitment's mean squares, and the prior's nats for each image.

        ``reconstruction`` is the mean over pixels of images in [-1, 1], as the plain autoencoder's; ``commitment`` is
        the mean over entries, before its weight; ``perplexity`` says how many codes the batch uses, and is no part of
        the total.
        """
        maps = self.networks.encoder(batch.images)
        maps_of_codes, codes, commitment = self.networks.quantiser(maps)
        self.quantised = maps.detach(), codes
        terms = {
            "reconstruction": F.mse_loss(self.networks.decoder(maps_of_codes).float(), batch.images),
            "commitment": commitment,
            "prior": -self.networks.prior.log_likelihood(codes).mean(),
        }
        total = terms["reconstruction"] + self.commitment * commitment + terms["prior"]
        return Loss(total, {**terms, "perplexity": perplexity(codes, self.codebook_size)})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step of gradient descent, and one of the codebook's moving averages.

        Args:
            batch: the batch.
            batch_idx: its number in the epoch.

        Returns:
            The total loss.
        """
        total = super().training_step(batch, batch_idx)
        assert self.quantised is not None
        self.networks.quantiser.update(*self.quantised)
        return total

    def tokenize(self, images: Images) -> Codes:
        """The codes (batch, rows, columns) of images, each in [0, codebook_size)."""
        with self.producing() as networks:
            return networks.quantiser.nearest(networks.encoder(images))

    def detokenize(self, codes: Codes) -> Images:
        """The images of codes."""
        return self.decode(self.embed(codes))

    def embed(self, codes: Codes) -> Latents:
        """The vectors (batch, code_dim, rows, columns) of codes."""
        with self.producing() as networks:
            return networks.quantiser.embed(codes)

    def encode(self, images: Images, *, labels: Labels | None = None) -> Latents:
        """The vectors (batch, code_dim, rows, columns) of the codes of images."""
        return self.embed(self.tokenize(images))

    def decode(self, latents: Latents) -> Images:
        """The images of grids of vectors (batch, code_dim, rows, columns), which need not be codes."""
        with self.producing() as networks:
            return networks.decoder(latents).clamp(-1, 1)

    def reconstruct(self, images: Images, *, labels: Labels | None = None) -> Images:
        """The images of the codes of images."""
        return self.decode(self.encode(images))

    def sample_latents(self, num: int, *, generator: Randomness = None) -> Latents:
        """Draw codes from the prior, and give their vectors (num, code_dim, rows, columns)."""
        with self.producing() as networks:
            codes = networks.prior.sample(uniform(num, *self.grid, generator=generator, device=self.device))
        return self.embed(codes)


class Networks(nn.Module):
    """The networks of a VQ-VAE, as one.

    Args:
        encoder: from images to grids of vectors.
        quantiser: from vectors to codes.
        decoder: from the codes' vectors to images.
        prior: of the codes.
    """

    def __init__(
        self, encoder: "GridEncoder", quantiser: VectorQuantiser, decoder: "GridDecoder", prior: GatedPixelCNN
    ) -> None:
        super().__init__()
        self.encoder, self.quantiser, self.decoder, self.prior = encoder, quantiser, decoder, prior


class Residual(nn.Module):
    """The paper's residual block: ReLU, 3 x 3, ReLU, 1 x 1, beside the identity.

    Args:
        width: channels.
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
        channels: of the images.
        code_dim: length of a vector.
        width: channels in between.
        halvings: how often the side is halved.
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

    Nothing bounds the output: a tanh would saturate at the black background before there are codes to tell of more, and
    pass no gradient any longer.

    Args:
        code_dim: length of a vector.
        channels: of the images.
        width: channels in between.
        halvings: how often the side is doubled.
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
