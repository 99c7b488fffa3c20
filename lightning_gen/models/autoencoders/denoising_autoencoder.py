"""The denoising autoencoder (Vincent et al. 2008, https://doi.org/10.1145/1390156.1390294).

It maps a corrupted image to the clean one, which requires knowledge of the distribution of clean images:

    minimise E |x - decoder(encoder(x~))|^2,    x~ ~ q(x~ | x)
"""

from typing import Any

from torch.nn import functional as F

from lightning_gen.losses.image_quality import mse, psnr
from lightning_gen.models.autoencoders.deterministic import DeterministicDescentModule
from lightning_gen.networks.corruption import Corruption, check_amount, corrupt
from lightning_gen.types import Batch, Images, ImageShape, Loss


class DenoisingAutoencoder(DeterministicDescentModule):
    """An autoencoder from corrupted to clean images, trained on the mean squared error.

    Like the plain autoencoder it generates no samples. ``reconstruct`` does not corrupt its images.

    Args:
        image_shape: (channels, height, width).
        corruption: ``gaussian`` noise, ``masking`` of pixels to black, or ``salt_and_pepper`` (black and white).
        amount: standard deviation of the Gaussian noise in units of [-1, 1], or the probability that a pixel is
            corrupted.
        **kwargs: see :class:`DeterministicDescentModule`, :class:`DeterministicModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self, image_shape: ImageShape, corruption: Corruption = "gaussian", amount: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_amount(corruption, amount)
        self.corruption: Corruption = corruption
        self.amount = amount
        self.save_hyperparameters()

    def corrupt(self, images: Images) -> Images:
        """Corrupt images in [-1, 1] as in training, with noise from torch's global generator."""
        return corrupt(images, self.corruption, self.amount)

    def loss(self, batch: Batch) -> Loss:
        """Mean squared error over pixels against clean images in [-1, 1]; PSNR before and after denoising in dB."""
        corrupted = self.corrupt(batch.images)
        restored = self.network(corrupted)
        error = F.mse_loss(restored, batch.images)
        terms = {
            "reconstruction": error,
            "psnr_in": psnr(mse(corrupted.detach().float(), batch.images)),
            "psnr_out": psnr(mse(restored.detach().float(), batch.images)),
        }
        return Loss(error, terms)
