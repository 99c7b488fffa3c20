"""What deterministic autoencoders share: one code for each image, and the way there and back.

    z = encoder(x),    x' = tanh(decoder(z))

What the codes are held to, if to anything, is a model's own.
"""

from abc import abstractmethod
from typing import Any

from torch import nn
from torch.optim import Adam

from lightning_gen.models.base import DescentModule, GenerativeModule
from lightning_gen.networks.pairs import NetworkKind, at_least_one, make_decoder, make_encoder
from lightning_gen.types import Images, ImageShape, Labels, Latents


class CodingModule(GenerativeModule):
    """Base of all models with one code (latent_dim) for each image, whatever their codes are held to.

    It stands before the base that trains (:class:`DescentModule`, :class:`AdversarialModule`) and before
    :class:`GaussianLatents` among a model's bases. A code depends on its image alone, so labels are passed over.

    Args:
        image_shape: (channels, height, width); ``conv`` takes square images of 8 to 128 pixels, ``mlp`` any.
        latent_dim: dimensions of the code.
        network: ``mlp`` or ``conv``.
        hidden: widths of the MLP's hidden layers from the image's side: (256, 128) is 784-256-128-latent_dim.
        width: channels of the convolutional network next to the image.
        **kwargs: see the base that trains.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int = 32,
        network: NetworkKind = "conv",
        hidden: tuple[int, ...] = (256, 128),
        width: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.latent_dim = latent_dim
        at_least_one(latent_dim=latent_dim)
        encoder = make_encoder(network, self.image_shape, latent_dim, hidden, width)
        decoder = make_decoder(network, self.image_shape, latent_dim, hidden, width)
        self.networks = nn.ModuleDict({"encoder": encoder, "decoder": nn.Sequential(decoder, nn.Tanh())})
        self.follow()

    @abstractmethod
    def configure_optimizers(self) -> Any:
        """The optimizers of encoder and decoder, and of whatever a model has beside them."""

    def producer(self) -> nn.Module:
        """Encoder and decoder."""
        return self.networks

    def encode(self, images: Images, *, labels: Labels | None = None) -> Latents:
        """The codes (batch, latent_dim) of images."""
        with self.producing() as networks:
            return networks["encoder"](images)

    def decode(self, latents: Latents) -> Images:
        """The images of codes (batch, latent_dim)."""
        with self.producing() as networks:
            return networks["decoder"](latents)

    def reconstruct(self, images: Images, *, labels: Labels | None = None) -> Images:
        """Encode and decode images."""
        return self.decode(self.encode(images))


class CodingDescentModule(CodingModule, DescentModule):
    """A deterministic autoencoder that is trained by Adam on one loss.

    Args:
        image_shape: (channels, height, width).
        lr: Adam's learning rate.
        **kwargs: see :class:`CodingModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, lr: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.lr = lr

    def configure_optimizers(self) -> Any:
        """Adam."""
        return self.scheduled(Adam(self.networks.parameters(), self.lr))
