r"""The variational autoencoder (Kingma and Welling 2014, https://arxiv.org/abs/1312.6114).

It maximises the evidence lower bound, exact sums in nats for each image:

    log p(x) >= ELBO(x) = E_q(z|x)[log p(x|z)] - KL(q(z|x) || N(0, I)),    q(z|x) = N(m(x), diag s(x)^2)

with one reparameterised sample z = m + s e, e ~ N(0, I). A weight beta on the KL term makes it a beta-VAE
(Higgins et al. 2017, https://openreview.net/forum?id=Sy2fzU9gl); the logged ``elbo`` always has weight 1.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam

from lightning_gen.errors import InputError
from lightning_gen.losses.likelihood import bernoulli_log_likelihood, gaussian_kl, gaussian_log_likelihood
from lightning_gen.models.base import DescentModule
from lightning_gen.models.latents import GaussianLatents
from lightning_gen.networks.pairs import NetworkKind, encoder_decoder
from lightning_gen.types import Batch, Images, ImageShape, Latents, Loss

Likelihood = Literal["bernoulli", "gaussian"]


class ELBO(NamedTuple):
    """The two parts of the bound, in nats for each image."""

    log_likelihood: Float[Tensor, " batch"]
    kl: Float[Tensor, " batch"]


class VAE(GaussianLatents, DescentModule):
    """Gaussian latents, a Bernoulli or Gaussian likelihood, and the ELBO.

    Args:
        image_shape: (channels, height, width); ``conv`` takes square images of 8 to 128 pixels, ``mlp`` any.
        latent_dim: dimensions of the latents.
        network: ``mlp`` or ``conv``.
        hidden: widths of the MLP's hidden layers from the image's side.
        width: channels of the convolutional network next to the image.
        likelihood: ``bernoulli`` on pixels in [0, 1], or ``gaussian`` on pixels in [-1, 1].
        sigma: standard deviation of the Gaussian likelihood in units of [-1, 1]; learned, one for all pixels, when
            None (Rybkin et al. 2021, https://arxiv.org/abs/2006.13202).
        beta: weight of the KL term in the loss.
        beta_warmup: images over which the weight grows linearly from 0 to ``beta``.
        lr: Adam's learning rate.
        **kwargs: see :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int = 32,
        network: NetworkKind = "conv",
        hidden: tuple[int, ...] = (256, 128),
        width: int = 32,
        likelihood: Likelihood = "bernoulli",
        sigma: float | None = None,
        beta: float = 1.0,
        beta_warmup: int = 0,
        lr: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        if sigma is not None and sigma <= 0:
            raise InputError(f"model.sigma is {sigma}; it must be above 0, or null to learn it")
        if beta < 0 or beta_warmup < 0:
            raise InputError(f"model.beta is {beta} and model.beta_warmup {beta_warmup}; neither may be negative")
        self.latent_dim, self.likelihood, self.lr = latent_dim, likelihood, lr
        self.beta, self.beta_warmup = beta, beta_warmup
        encoder, decoder = encoder_decoder(network, self.image_shape, 2 * latent_dim, latent_dim, hidden, width)
        self.networks = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
        log_sigma = torch.tensor(math.log(sigma or 1.0))
        if likelihood == "gaussian" and sigma is None:
            self.log_sigma: Tensor = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)
        self.follow()

    def producer(self) -> nn.Module:
        """Encoder and decoder."""
        return self.networks

    def configure_optimizers(self) -> Any:
        """Adam on the networks and, where it is learned, sigma."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return self.scheduled(Adam(trained, self.lr))

    def elbo(self, images: Images) -> ELBO:
        """The bound of images with one sample of the latents, by the networks in training.

        Args:
            images: in [-1, 1].

        Returns:
            Log-likelihood and KL in nats for each image; the ELBO is their difference.
        """
        mean, log_var = self.networks["encoder"](images).chunk(2, dim=1)
        latents = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        output = self.networks["decoder"](latents).float()
        if self.likelihood == "bernoulli":
            log_likelihood = bernoulli_log_likelihood(output, (images + 1) / 2)
        else:
            log_likelihood = gaussian_log_likelihood(output, self.log_sigma, images)
        return ELBO(log_likelihood, gaussian_kl(mean.float(), log_var.float()))

    def kl_weight(self) -> float:
        """The weight of the KL term at this point of the training."""
        return self.beta * min(1.0, self.images_seen / self.beta_warmup) if self.beta_warmup else self.beta

    def loss(self, batch: Batch) -> Loss:
        """The negative bound with the KL weighted, and its parts: means over images of nats for each image."""
        log_likelihood, kl = (part.mean() for part in self.elbo(batch.images))
        terms = {"reconstruction": -log_likelihood, "kl": kl, "elbo": log_likelihood - kl}
        return Loss(self.kl_weight() * kl - log_likelihood, terms)

    def encode(self, images: Images) -> Latents:
        """The means (batch, latent_dim) of the latents of images."""
        with self.producing() as networks:
            return networks["encoder"](images).chunk(2, dim=1)[0]

    def decode(self, latents: Latents) -> Images:
        """The mean images of latents (batch, latent_dim)."""
        with self.producing() as networks:
            output = networks["decoder"](latents)
        return output.sigmoid() * 2 - 1 if self.likelihood == "bernoulli" else output.clamp(-1, 1)

    def reconstruct(self, images: Images) -> Images:
        """The mean images of the mean latents of images."""
        return self.decode(self.encode(images))
