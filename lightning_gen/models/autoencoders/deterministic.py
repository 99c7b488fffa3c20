"""What deterministic autoencoders share: z = encoder(x), x' = tanh(decoder(z)), one latent vector z per image."""

from typing import Any

from torch import nn

from lightning_gen.checks import check_at_least
from lightning_gen.models.base import DescentModule, GenerativeModule
from lightning_gen.networks.autoencoder import EncoderDecoder
from lightning_gen.networks.encoder_decoder import NetworkKind, make_decoder, make_encoder
from lightning_gen.types import Images, ImageShape, Labels, Latents


class DeterministicModule(GenerativeModule[EncoderDecoder]):
    """Base class of deterministic autoencoders; a model adds the regularisation of its latents.

    It precedes the training base class (:class:`DescentModule` or :class:`AdversarialModule`) and
    :class:`LatentSampling` among the bases of a model. A latent depends on its image alone, so labels are ignored.

    Args:
        image_shape: (channels, height, width); ``conv`` supports square images of 8 to 128 pixels, ``mlp`` any size.
        latent_dim: number of latent dimensions.
        network: ``mlp`` or ``conv``.
        hidden: widths of the MLP's hidden layers, from the image to the latents: (256, 128) is 784-256-128-latent_dim.
        width: number of channels of the convolutional network next to the image.
        **kwargs: see the training base class.
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
        check_at_least(1, latent_dim=latent_dim)
        self.latent_dim = latent_dim
        encoder = make_encoder(network, self.image_shape, latent_dim, hidden, width)
        decoder = make_decoder(network, self.image_shape, latent_dim, hidden, width)
        self.set_network(EncoderDecoder(encoder, nn.Sequential(decoder, nn.Tanh())))

    def forward(self, images: Images, labels: Labels | None = None) -> Images:
        """Reconstruct images, without gradients: :meth:`reconstruct`."""
        return self.reconstruct(images, labels=labels)

    def encode(self, images: Images, *, labels: Labels | None = None) -> Latents:
        """Latents (batch, latent_dim) of images."""
        with self.inference_network() as network:
            return network.encode(images)

    def decode(self, latents: Latents) -> Images:
        """Images of latents (batch, latent_dim)."""
        with self.inference_network() as network:
            return network.decode(latents)

    def reconstruct(self, images: Images, *, labels: Labels | None = None) -> Images:
        """Encode and decode images."""
        return self.decode(self.encode(images))


class DeterministicDescentModule(DeterministicModule, DescentModule[EncoderDecoder]):
    """A deterministic autoencoder trained by Adam on one loss.

    Args:
        image_shape: (channels, height, width).
        lr: Adam's learning rate.
        **kwargs: see :class:`DeterministicModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, lr: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.lr = lr

    def configure_optimizers(self) -> Any:
        """Adam."""
        return self.with_lr_schedule(self.adam(self.network.parameters(), self.lr))
