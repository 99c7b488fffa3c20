"""The smallest model that makes images from images, for tests of the data and of the command line."""

from typing import Any

import torch
import torch.nn.functional as F

from lightning_gen.models.base import DescentModule
from lightning_gen.models.translator import ImageTranslation
from lightning_gen.types import Batch, ImageShape, Loss


class ToyTranslator(ImageTranslation, DescentModule):
    """A convolution of 1 x 1 pixels and an enlargement, trained on the mean squared error."""

    def __init__(self, image_shape: ImageShape, input_shape: ImageShape, **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, input_shape=input_shape, **kwargs)
        layers = (torch.nn.Conv2d(input_shape[0], image_shape[0], 1), torch.nn.Upsample(scale_factor=self.scale))
        self.set_network(torch.nn.Sequential(*layers))
        self.save_hyperparameters()

    def loss(self, batch: Batch) -> Loss:
        error = F.mse_loss(self.network(self.inputs_of(batch)), batch.images)
        return Loss(error, {"error": error})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class ToyUnpairedTranslator(ToyTranslator):
    needs_pairs = False
