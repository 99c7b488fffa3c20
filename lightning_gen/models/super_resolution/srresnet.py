"""Super-resolution by regression: SRResNet (Ledig et al. 2017, https://arxiv.org/abs/1609.04802) and RRDB.

    minimise E |f(y) - x|    or    E (f(y) - x)^2,    y the small version of the image x

The minimum of the squared error is the mean of all images that are likely to be large versions of y, which has the best
PSNR and is blurred.
"""

from typing import Any, Literal

from torch import nn
from torch.nn import functional as F

from lightning_gen.losses.image_quality import mse, psnr
from lightning_gen.models.base import DescentModule
from lightning_gen.models.super_resolution.upscaling import SuperResolution
from lightning_gen.types import Batch, ImageShape, Loss


class SRResNet(SuperResolution, DescentModule[nn.Module]):
    """A network for super-resolution that is trained on the error of its pixels.

    Args:
        image_shape: (channels, height, width) of the large images.
        input_shape: (channels, height, width) of the small images.
        loss: mean absolute error (``l1``) or mean squared error (``mse``) of images in [-1, 1].
        lr: Adam's learning rate.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        **kwargs: see :class:`SuperResolution` and :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        input_shape: ImageShape,
        loss: Literal["l1", "mse"] = "l1",
        lr: float = 2e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, input_shape=input_shape, **kwargs)
        self.pixel_loss = F.l1_loss if loss == "l1" else F.mse_loss
        self.lr, self.betas = lr, (beta1, beta2)
        self.save_hyperparameters()

    def loss(self, batch: Batch) -> Loss:
        """The error of the pixels in [-1, 1], and the PSNR in dB of the clipped images."""
        images = self.network(self.inputs_of(batch))
        error = self.pixel_loss(images, batch.images)
        quality = psnr(mse(images.detach().float().clamp(-1, 1), batch.images))
        return Loss(error, {"reconstruction": error, "psnr": quality})

    def configure_optimizers(self) -> Any:
        """Adam."""
        return self.with_lr_schedule(self.adam(self.network.parameters(), self.lr, self.betas))
