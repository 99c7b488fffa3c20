r"""The vector-quantised autoencoder and its prior (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937).

An encoder maps an image x to a grid of vectors z, each is replaced by its nearest code e of a learned codebook, and a
decoder maps the codes' vectors back. With mean squares over all pixels and over all entries of the grid:

    L = |x - D(e)|^2 + beta |z - sg[e]|^2 - log p(k)

The codebook term of the paper's equation 3 is replaced by moving averages of the vectors (appendix A.1). The last term
trains the prior, a gated PixelCNN of the codes k. The paper trains it after the autoencoder; here both are trained at
once, and each term only affects its own networks because codes have no gradient.
"""

from typing import Any, Literal

from torch.nn import functional as F

from lightning_gen.checks import check_at_least, check_fraction
from lightning_gen.errors import InputError
from lightning_gen.models.base import DescentModule
from lightning_gen.models.latents import LatentSampling
from lightning_gen.networks.masked import GatedPixelCNN
from lightning_gen.networks.vq import Quantised, VectorQuantiser, perplexity
from lightning_gen.networks.vqvae import GridDecoder, GridEncoder, VectorQuantisedAutoencoder
from lightning_gen.types import Batch, Codes, Images, ImageShape, Labels, Latents, Loss, RandomSource


class VQVAE(LatentSampling, DescentModule[VectorQuantisedAutoencoder]):
    """A convolutional autoencoder with a vector quantiser between encoder and decoder, and a prior of the codes.

    One Adam trains the autoencoder and the prior. Adam's steps do not depend on the scale of a loss, so the prior's
    nats need no weight; only clipping by the norm of all gradients would couple the two.

    Args:
        image_shape: (channels, height, width), both sides multiples of ``downsample``.
        codebook_size: number of codes K.
        code_dim: dimension of a codebook vector.
        downsample: image side divided by grid side.
        width: number of channels of encoder and decoder; the paper uses 256.
        commitment: beta, the weight of the commitment term.
        codebook_decay: decay of the codebook's moving averages, in [0, 1).
        revive_below: a code used less often than this fraction of the mean is reinitialised, in [0, 1).
        prior_width: number of channels of the prior.
        prior_layers: number of gated layers of the prior.
        prior_kernel: odd kernel size of the prior, whose receptive field reaches ``prior_layers * (prior_kernel // 2)``
            codes.
        prior_dropout: dropout in the prior, in [0, 1), against overfitting on small datasets.
        lr: Adam's learning rate.
        prior_lr: learning rate of the prior; None for ``lr``.
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
        channels, height, image_width = self.image_shape
        if height % downsample or image_width % downsample:
            raise InputError(
                f"model.downsample is {downsample} and does not divide images of {height} x {image_width}; "
                f"set data.image_size to a multiple of {downsample}"
            )
        check_at_least(2, codebook_size=codebook_size)
        check_at_least(0, commitment=commitment)
        check_at_least(1, code_dim=code_dim, width=width, prior_width=prior_width)
        check_fraction(codebook_decay=codebook_decay, revive_below=revive_below)
        self.codebook_size, self.commitment = codebook_size, commitment
        self.lr, self.prior_lr = lr, lr if prior_lr is None else prior_lr
        halvings = downsample.bit_length() - 1
        network = VectorQuantisedAutoencoder(
            GridEncoder(channels, code_dim, width, halvings),
            VectorQuantiser(codebook_size, code_dim, codebook_decay, revive_below),
            GridDecoder(code_dim, channels, width, halvings),
            GatedPixelCNN(codebook_size, prior_width, prior_layers, prior_kernel, prior_dropout),
            grid=(height // downsample, image_width // downsample),
        )
        self.set_network(network)
        self.save_hyperparameters()

    def configure_optimizers(self) -> Any:
        """Adam, with a separate learning rate for the prior."""
        encoder, decoder, prior = self.network.encoder, self.network.decoder, self.network.prior
        autoencoder = [*encoder.parameters(), *decoder.parameters()]
        groups: list[dict[str, Any]] = [{"params": autoencoder}, {"params": prior.parameters(), "lr": self.prior_lr}]
        return self.with_lr_schedule(self.adam(groups, self.lr))

    def loss(self, batch: Batch) -> Loss:
        """The reconstruction error, the commitment term and the prior's negative log-likelihood.

        ``reconstruction`` is the mean squared error over pixels of images in [-1, 1], ``commitment`` the unweighted
        mean over the entries of the grid, ``prior`` in nats per image. ``perplexity`` is the effective number of codes
        in the batch and is no part of the total.
        """
        return self.quantise_and_score(batch)[0]

    def training_loss(self, batch: Batch) -> Loss:
        """The loss, after which the codebook's moving averages are updated."""
        loss, vectors, codes = self.quantise_and_score(batch)
        self.network.quantiser.update(vectors, codes)
        return loss

    def quantise_and_score(self, batch: Batch) -> tuple[Loss, Latents, Codes]:
        """The loss of a batch, its encoded vectors without their graph, and its codes."""
        network = self.network
        vectors = network.encoder(batch.images)
        quantised: Quantised = network.quantiser(vectors)
        terms = {
            "reconstruction": F.mse_loss(network.decoder(quantised.maps).float(), batch.images),
            "commitment": quantised.commitment,
            "prior": -network.prior.log_likelihood(quantised.codes).mean(),
        }
        total = terms["reconstruction"] + self.commitment * terms["commitment"] + terms["prior"]
        terms["perplexity"] = perplexity(quantised.codes, self.codebook_size)
        return Loss(total, terms), vectors.detach(), quantised.codes

    def forward(self, images: Images, labels: Labels | None = None) -> Images:
        """Reconstruct images, without gradients: :meth:`reconstruct`."""
        return self.reconstruct(images, labels=labels)

    def tokenize(self, images: Images) -> Codes:
        """Codes (batch, rows, columns) of images, each in [0, codebook_size)."""
        with self.inference_network() as network:
            return network.tokenize(images)

    def detokenize(self, codes: Codes) -> Images:
        """Images of codes."""
        with self.inference_network() as network:
            return network.decode(network.embed(codes))

    def encode(self, images: Images, *, labels: Labels | None = None) -> Latents:
        """Codebook vectors (batch, code_dim, rows, columns) of images."""
        with self.inference_network() as network:
            return network.embed(network.tokenize(images))

    def decode(self, latents: Latents) -> Images:
        """Images of grids of vectors (batch, code_dim, rows, columns), which need not be codebook vectors."""
        with self.inference_network() as network:
            return network.decode(latents)

    def reconstruct(self, images: Images, *, labels: Labels | None = None) -> Images:
        """Encode and decode images."""
        return self.decode(self.encode(images))

    def sample_latents(self, num: int, *, generator: RandomSource = None) -> Latents:
        """Codebook vectors (num, code_dim, rows, columns) of codes sampled from the prior."""
        with self.inference_network() as network:
            return network.embed(network.sample_codes(num, generator))
