r"""Latent-variable models p(x, z) = p(x | z) N(z; 0, I) with an amortised posterior q(z | x) = N(m(x), diag s(x)^2).

Kingma and Welling 2014 (https://arxiv.org/abs/1312.6114). All that is measured is in nats for each image:

    log p(x) >= E_q[log w],    w = p(x, z) / q(z | x),    z = m + s e,    e ~ N(0, I)

How a model is trained is its own affair (:meth:`DescentModule.loss`); networks, likelihood and capabilities are here.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam

from lightning_gen.distributed import average_over_ranks
from lightning_gen.errors import InputError
from lightning_gen.losses.likelihood import (
    bernoulli_log_likelihood,
    gaussian_kl,
    gaussian_log_likelihood,
    gaussian_log_ratio,
)
from lightning_gen.models.base import DescentModule
from lightning_gen.models.latents import GaussianLatents
from lightning_gen.networks.mlp import Activation
from lightning_gen.networks.pairs import NetworkKind, at_least_one, make_decoder, make_encoder
from lightning_gen.noise import randn
from lightning_gen.types import Batch, Images, ImageShape, Labels, Latents, LogWeights, Randomness

Likelihood = Literal["bernoulli", "gaussian"]


class Posterior(NamedTuple):
    """The moments of q(z | x): ``mean`` and ``log_var`` (batch, latent_dim), float32."""

    mean: Float[Tensor, "batch latent"]
    log_var: Float[Tensor, "batch latent"]

    def sample(self, num: int = 1, generator: Randomness = None) -> Float[Tensor, "num batch latent"]:
        """Draw reparameterised samples.

        Args:
            num: how many for each image.
            generator: where the noise comes from.

        Returns:
            The samples, differentiable by the moments.
        """
        batch, latent = self.mean.shape
        noise = randn(batch, num, latent, generator=generator, device=self.mean.device).transpose(0, 1)
        return self.mean + (0.5 * self.log_var).exp() * noise


class Bound(NamedTuple):
    """The two parts of the evidence lower bound of images, in nats."""

    log_likelihood: Float[Tensor, " batch"]
    """log p(x | z) for one sample of the latents."""
    kl: Float[Tensor, "batch latent"]
    """KL(q(z_j | x) || p(z_j)) for each dimension."""


class VariationalModule(GaussianLatents, DescentModule):
    """Encoder, decoder and likelihood; a subclass saves its hyper-parameters, calls :meth:`build` and gives a loss.

    Args:
        image_shape: (channels, height, width); ``conv`` takes square images of 8 to 128 pixels, ``mlp`` any.
        latent_dim: dimensions of the latents.
        network: ``mlp`` or ``conv``.
        hidden: widths of the MLP's hidden layers from the image's side.
        activation: between the MLP's layers.
        width: channels of the convolutional network next to the image.
        likelihood: ``bernoulli`` on pixels in [0, 1], or ``gaussian`` on pixels in [-1, 1].
        sigma: standard deviation of the Gaussian likelihood in units of [-1, 1]; learned, one for all pixels, when
            None (Rybkin et al. 2021, https://arxiv.org/abs/2006.13202).
        lr: Adam's learning rate.
        **kwargs: see :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int = 32,
        network: NetworkKind = "conv",
        hidden: tuple[int, ...] = (256, 128),
        activation: Activation = "relu",
        width: int = 32,
        likelihood: Likelihood = "bernoulli",
        sigma: float | None = None,
        lr: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        at_least_one(latent_dim=latent_dim)
        if sigma is not None and not 0 < sigma < math.inf:
            raise InputError(f"model.sigma is {sigma}; it must be above 0, or null to learn it")
        self.latent_dim, self.network, self.hidden, self.width = latent_dim, network, hidden, width
        self.activation = activation
        self.likelihood, self.sigma, self.lr = likelihood, sigma, lr

    def build(self, planes: int = 0) -> None:
        """Build the networks, once a subclass has its hyper-parameters.

        Args:
            planes: what :meth:`seen` adds to the image's channels, and :meth:`placed` to the latents.
        """
        channels, height, width = self.image_shape
        encoder = make_encoder(
            self.network,
            (channels + planes, height, width),
            2 * self.latent_dim,
            self.hidden,
            self.width,
            self.activation,
        )
        decoder = make_decoder(
            self.network, self.image_shape, self.latent_dim + planes, self.hidden, self.width, self.activation
        )
        log_sigma = torch.tensor(math.log(self.sigma or 1.0))
        # beside the decoder's weights, so that it is averaged with them
        if self.likelihood == "gaussian" and self.sigma is None:
            decoder.register_parameter("log_sigma", nn.Parameter(log_sigma))
        else:
            decoder.register_buffer("log_sigma", log_sigma)
        self.networks = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
        self.follow()

    def producer(self) -> nn.Module:
        """Encoder and decoder."""
        return self.networks

    def configure_optimizers(self) -> Any:
        """Adam on the networks and, where it is learned, sigma."""
        return self.scheduled(Adam(self.networks.parameters(), self.lr))

    # ---- training

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Begin with the first batch's mean image as the decoder's output, then descend.

        Args:
            batch: the batch.
            batch_idx: its number in the epoch.

        Returns:
            The total loss.
        """
        if self.batches_seen == 0:
            self.centre(batch.images)
        return super().training_step(batch, batch_idx)

    @torch.no_grad()
    def centre(self, images: Images) -> None:
        """Set the biases of the decoder's last layer so that it gives the mean of images, lest latents be spent on it.

        Args:
            images: a batch, on this rank.
        """
        decoder: Any = self.networks["decoder"]
        bias = decoder.layers[-1].bias
        mean = images.float().mean(0).reshape(len(bias), -1).mean(1)  # of each pixel, or of each channel
        if self.likelihood == "bernoulli":
            mean = ((mean + 1) / 2).logit(eps=0.5 / len(images))
        average_over_ranks([mean])
        bias.copy_(mean)

    # ---- where a conditional model differs

    def seen(self, images: Images, labels: Labels | None) -> Float[Tensor, "batch seen height width"]:
        """What the encoder sees: the images alone, here."""
        return images

    def placed(
        self, latents: Float[Tensor, "num batch latent"], labels: Labels | None
    ) -> Float[Tensor, "num batch placed"]:
        """What the decoder is given: the latents alone, here."""
        return latents

    # ---- the model's distributions

    def posterior(self, networks: Any, batch: Batch) -> Posterior:
        """q(z | x) of a batch.

        Args:
            networks: encoder and decoder, as in training or averaged.
            batch: images in [-1, 1] and, for a conditional model, their classes.

        Returns:
            Its moments.
        """
        return Posterior(*networks["encoder"](self.seen(batch.images, batch.labels)).float().chunk(2, dim=1))

    def log_likelihood(self, networks: Any, latents: Float[Tensor, "num batch latent"], batch: Batch) -> LogWeights:
        """Log p(x | z) of a batch for several latents of each image.

        Args:
            networks: encoder and decoder.
            latents: z.
            batch: the images.

        Returns:
            Nats for each latent.
        """
        num = len(latents)
        output = networks["decoder"](self.placed(latents, batch.labels).flatten(0, 1)).float()
        images = batch.images.repeat(num, 1, 1, 1) if num > 1 else batch.images
        if self.likelihood == "bernoulli":
            nats = bernoulli_log_likelihood(output, (images + 1) / 2)
        else:
            nats = gaussian_log_likelihood(output, networks["decoder"].log_sigma, images)
        return nats.unflatten(0, (num, -1))

    def bound(self, batch: Batch) -> Bound:
        """The evidence lower bound of a batch in its parts, by the networks in training and one sample of the latents.

        Args:
            batch: images in [-1, 1] and, for a conditional model, their classes.

        Returns:
            Log-likelihood and KL; the ELBO of an image is the first minus the sum of the second.
        """
        posterior = self.posterior(self.networks, batch)
        log_likelihood = self.log_likelihood(self.networks, posterior.sample(), batch)
        return Bound(log_likelihood[0], gaussian_kl(*posterior))

    # ---- capabilities

    def log_weights(
        self, images: Images, num: int, *, labels: Labels | None = None, generator: Randomness = None
    ) -> LogWeights:
        """Log w of ``num`` samples for each image: see :class:`~lightning_gen.types.LikelihoodModel`."""
        batch = Batch(images, labels)
        with self.producing() as networks:
            posterior = self.posterior(networks, batch)
            latents = posterior.sample(num, generator)
            return self.log_likelihood(networks, latents, batch) + gaussian_log_ratio(latents, *posterior)

    def encode(self, images: Images, *, labels: Labels | None = None) -> Latents:
        """The means of the latents of images; for a conditional model with the classes behind them."""
        with self.producing() as networks:
            mean = self.posterior(networks, Batch(images, labels)).mean
            return self.placed(mean[None], labels)[0]

    def decode(self, latents: Latents) -> Images:
        """The mean images of latents."""
        with self.producing() as networks:
            output = networks["decoder"](latents)
        return output.sigmoid() * 2 - 1 if self.likelihood == "bernoulli" else output.clamp(-1, 1)

    def reconstruct(self, images: Images, *, labels: Labels | None = None) -> Images:
        """The mean images of the mean latents of images."""
        return self.decode(self.encode(images, labels=labels))
