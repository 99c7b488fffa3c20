r"""Training and use of :class:`VariationalAutoencoder`: the shared base classes of the VAEs.

Without modifications the loss is the negative evidence lower bound (ELBO) of Kingma and Welling 2014
(https://arxiv.org/abs/1312.6114), in nats per image:

    loss = E_x[ -log p(x | z) + a R ],    R = sum_j max(lambda, E_x KL_j),    z ~ q(z | x)

The weight a is 1, or rises from 0 to 1 once or periodically (Fu et al. 2019, https://arxiv.org/abs/1903.10145), which
counters posterior collapse. Free bits lambda (Kingma et al. 2016, https://arxiv.org/abs/1606.04934, equation 15) let
every latent dimension carry that much information without a penalty.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.checks import check_above, check_at_least
from lightning_gen.errors import InputError
from lightning_gen.models.base import DescentModule
from lightning_gen.models.latents import LatentSampling
from lightning_gen.networks.encoder_decoder import NetworkKind, make_decoder, make_encoder
from lightning_gen.networks.mlp import Activation
from lightning_gen.networks.variational import Likelihood, VariationalAutoencoder
from lightning_gen.types import Batch, Images, ImageShape, Labels, Latents, LogWeights, Loss, RandomSource

KLSchedule = Literal["constant", "linear", "cyclical"]
RISING_FRACTION = 0.5
"""Fraction of a cycle in which the KL weight rises; then it is 1 (Fu et al. 2019, R = 0.5)."""


class VariationalModule(LatentSampling, DescentModule[VariationalAutoencoder]):
    """Base class of variational autoencoders. A model sets its network with :meth:`make_network` and defines its loss.

    Args:
        image_shape: (channels, height, width); ``conv`` supports square images of 8 to 128 pixels, ``mlp`` any size.
        latent_dim: number of latent dimensions.
        network: ``mlp`` or ``conv``.
        hidden: widths of the MLP's hidden layers, from the image to the latents.
        activation: activation of the MLP.
        width: number of channels of the convolutional network next to the image.
        likelihood: ``bernoulli`` on pixels in [0, 1], or ``gaussian`` on pixels in [-1, 1].
        sigma: standard deviation of the Gaussian likelihood in units of [-1, 1]; None for one learned value, shared by
            all pixels (Rybkin et al. 2021, https://arxiv.org/abs/2006.13202).
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
        check_at_least(1, latent_dim=latent_dim)
        check_above(0, sigma=sigma, note=", or null to learn it")
        self.network_kind, self.latent_dim, self.hidden, self.width = network, latent_dim, hidden, width
        self.activation: Activation = activation
        self.likelihood: Likelihood = likelihood
        self.sigma, self.lr = sigma, lr

    def make_network(self) -> VariationalAutoencoder:
        """Build the network, conditional if ``num_classes`` is above 0."""
        channels, height, width = self.image_shape
        input_shape = (channels + self.num_classes, height, width)
        options = self.hidden, self.width, self.activation
        encoder = make_encoder(self.network_kind, input_shape, 2 * self.latent_dim, *options)
        decoder = make_decoder(self.network_kind, self.image_shape, self.latent_dim + self.num_classes, *options)
        return VariationalAutoencoder(encoder, decoder, self.likelihood, self.sigma, self.num_classes)

    def configure_optimizers(self) -> Any:
        """Adam on all weights and, if it is learned, sigma."""
        return self.with_lr_schedule(self.adam(self.network.parameters(), self.lr))

    def training_loss(self, batch: Batch) -> Loss:
        """Before the first batch, initialise the decoder's output to the mean image."""
        if self.batches_seen == 0:
            self.network.initialise_output(batch.images)
        return self.loss(batch)

    # ---- capabilities; with num_classes above 0 they need labels

    def check_images_have_labels(self, labels: Labels | None) -> None:
        """Raise ``InputError`` if the model is conditional and labels are missing."""
        if self.num_classes and labels is None:
            raise InputError(f"{type(self).__name__} needs the classes of the images that it encodes")

    def forward(self, images: Images, labels: Labels | None = None) -> Images:
        """Reconstruct images, without gradients: :meth:`reconstruct`."""
        return self.reconstruct(images, labels=labels)

    def log_weights(
        self, images: Images, num: int, *, labels: Labels | None = None, generator: RandomSource = None
    ) -> LogWeights:
        """Log w of ``num`` samples per image: see :class:`~lightning_gen.types.LikelihoodModel`."""
        self.check_images_have_labels(labels)
        with self.inference_network() as network:
            classes = network.classes_of(labels)
            posterior = network.posterior(images, classes)
            latents = posterior.sample(num, generator)
            return network.log_likelihood(images, latents, classes) + posterior.log_ratio(latents)

    def encode(self, images: Images, *, labels: Labels | None = None) -> Latents:
        """Posterior means of images, followed by the class rows if the model is conditional."""
        self.check_images_have_labels(labels)
        with self.inference_network() as network:
            classes = network.classes_of(labels)
            mean = network.posterior(images, classes).mean
            return mean if classes is None else torch.cat([mean, classes.to(mean.dtype)], 1)

    def decode(self, latents: Latents) -> Images:
        """Mean images of latents, which end in the class rows if the model is conditional."""
        latents, classes = latents.split([self.latent_dim, self.num_classes], dim=1)
        with self.inference_network() as network:
            return network.decode(latents, classes if self.num_classes else None)

    def reconstruct(self, images: Images, *, labels: Labels | None = None) -> Images:
        """Mean images of the posterior means of images."""
        return self.decode(self.encode(images, labels=labels))


class ELBOModule(VariationalModule):
    """Base class of variational autoencoders trained on the ELBO.

    Args:
        image_shape: (channels, height, width).
        kl_schedule: weight of the KL term: ``constant`` 1; ``linear`` from 0 to 1 over the first ``kl_images`` images;
            ``cyclical``: in every ``kl_images`` images, linear from 0 to 1 in the first half and 1 in the second.
        kl_images: length of the schedule in images; 0 for a constant one.
        free_bits: lambda, nats of each latent dimension (averaged over the batch) without a penalty.
        **kwargs: see :class:`VariationalModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        kl_schedule: KLSchedule = "constant",
        kl_images: int = 0,
        free_bits: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        if (kl_images > 0) != (kl_schedule != "constant"):
            raise InputError(
                f"model.kl_schedule is {kl_schedule} and model.kl_images {kl_images}: "
                "a linear or cyclical schedule has a length in images, a constant one has none"
            )
        check_at_least(0, free_bits=free_bits)
        self.kl_schedule, self.kl_images, self.free_bits = kl_schedule, kl_images, free_bits

    def kl_weight(self) -> float:
        """The scheduled weight a in [0, 1]."""
        if self.kl_schedule == "linear":
            return min(1.0, self.images_seen / self.kl_images)
        if self.kl_schedule == "cyclical":
            return min(1.0, self.images_seen % self.kl_images / (RISING_FRACTION * self.kl_images))
        return 1.0

    def regulariser(self, kl: Float[Tensor, "batch latent"]) -> Float[Tensor, ""]:
        """R in nats per image, of the KL divergence of each latent dimension of each image."""
        return kl.mean(0).clamp(min=self.free_bits).sum()

    def loss(self, batch: Batch) -> Loss:
        """The loss, with the terms of the unweighted ELBO: means over the images, in nats per image."""
        self.check_images_have_labels(batch.labels)
        classes = self.network.classes_of(batch.labels)
        posterior = self.network.posterior(batch.images, classes)
        log_likelihood = self.network.log_likelihood(batch.images, posterior.sample(), classes).mean()
        kl_per_dimension = posterior.kl()
        kl = kl_per_dimension.sum(1).mean()
        terms = {"reconstruction": -log_likelihood, "kl": kl, "elbo": log_likelihood - kl}
        return Loss(self.kl_weight() * self.regulariser(kl_per_dimension) - log_likelihood, terms)
