"""The plain autoencoder (Hinton and Salakhutdinov 2006, https://doi.org/10.1126/science.1127647)."""

from typing import Any

from torch import nn
from torch.nn import functional as F
from torch.optim import Adam

from lightning_gen.models.base import DescentModule
from lightning_gen.networks.pairs import NetworkKind, encoder_decoder
from lightning_gen.types import Batch, Images, ImageShape, Latents, Loss


class Autoencoder(DescentModule):
    """Images through a narrow code and back, under the mean squared error.

    It has no prior over its codes and so draws no samples: it is scored by its reconstructions.

    Args:
        image_shape: (channels, height, width); ``conv`` takes square images of 8 to 128 pixels, ``mlp`` any.
        latent_dim: dimensions of the code.
        network: ``mlp`` or ``conv``.
        hidden: widths of the MLP's hidden layers from the image's side: (256, 128) is 784-256-128-latent_dim.
        width: channels of the convolutional network next to the image.
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
        lr: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        self.lr = lr
        encoder, decoder = encoder_decoder(network, self.image_shape, latent_dim, latent_dim, hidden, width)
        self.networks = nn.ModuleDict({"encoder": encoder, "decoder": nn.Sequential(decoder, nn.Tanh())})
        self.follow()

    def producer(self) -> nn.Module:
        """Encoder and decoder."""
        return self.networks

    def configure_optimizers(self) -> Any:
        """Adam."""
        return self.scheduled(Adam(self.networks.parameters(), self.lr))

    def loss(self, batch: Batch) -> Loss:
        """Mean squared error over pixels, of images in [-1, 1]."""
        reconstructions = self.networks["decoder"](self.networks["encoder"](batch.images))
        error = F.mse_loss(reconstructions, batch.images)
        return Loss(error, {"reconstruction": error})

    def encode(self, images: Images) -> Latents:
        """The codes (batch, latent_dim) of images."""
        with self.producing() as networks:
            return networks["encoder"](images)

    def decode(self, latents: Latents) -> Images:
        """The images of codes (batch, latent_dim)."""
        with self.producing() as networks:
            return networks["decoder"](latents)

    def reconstruct(self, images: Images) -> Images:
        """Encode and decode images."""
        return self.decode(self.encode(images))
