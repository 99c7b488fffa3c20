"""The variational autoencoder (Kingma and Welling 2014, https://arxiv.org/abs/1312.6114)."""

from typing import Any

from lightning_gen.models.autoencoders.variational import ELBOModule
from lightning_gen.types import ImageShape


class VAE(ELBOModule):
    """Gaussian latents, a Bernoulli or Gaussian likelihood, and the ELBO with one reparameterised sample.

    Args:
        image_shape: (channels, height, width).
        **kwargs: see :class:`ELBOModule`, :class:`VariationalModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.set_network(self.make_network())
        self.save_hyperparameters()
