"""The plain autoencoder (Hinton and Salakhutdinov 2006, https://doi.org/10.1126/science.1127647)."""

from typing import Any

from torch.nn import functional as F

from lightning_gen.models.coding import CodingDescentModule
from lightning_gen.types import Batch, ImageShape, Loss


class Autoencoder(CodingDescentModule):
    """Images through a narrow code and back, under the mean squared error.

    It has no prior over its codes and so draws no samples: it is scored by its reconstructions.

    Args:
        image_shape: (channels, height, width).
        **kwargs: see :class:`CodingDescentModule`, :class:`CodingModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()

    def loss(self, batch: Batch) -> Loss:
        """Mean squared error over pixels, of images in [-1, 1]."""
        reconstructions = self.networks["decoder"](self.networks["encoder"](batch.images))
        error = F.mse_loss(reconstructions, batch.images)
        return Loss(error, {"reconstruction": error})
