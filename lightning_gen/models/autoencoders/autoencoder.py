"""The plain autoencoder (Hinton and Salakhutdinov 2006, https://doi.org/10.1126/science.1127647)."""

from typing import Any

from torch.nn import functional as F

from lightning_gen.models.autoencoders.deterministic import DeterministicDescentModule
from lightning_gen.types import Batch, ImageShape, Loss


class Autoencoder(DeterministicDescentModule):
    """An encoder to few latent dimensions and a decoder, trained on the mean squared error.

    The latents have no prior, so the model generates no samples: it is scored by its reconstructions.

    Args:
        image_shape: (channels, height, width).
        **kwargs: see :class:`DeterministicDescentModule`, :class:`DeterministicModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()

    def loss(self, batch: Batch) -> Loss:
        """Mean squared error over pixels, of images in [-1, 1]."""
        error = F.mse_loss(self.network(batch.images), batch.images)
        return Loss(error, {"reconstruction": error})
