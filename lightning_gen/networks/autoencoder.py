"""A deterministic autoencoder: z = encoder(x), x' = decoder(z)."""

from torch import nn

from lightning_gen.types import Images, Latents


class EncoderDecoder(nn.Module):
    """An encoder and a decoder.

    Args:
        encoder: images to latents (batch, latent_dim).
        decoder: latents to images in [-1, 1].
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def encode(self, images: Images) -> Latents:
        """Latents of images."""
        return self.encoder(images)

    def decode(self, latents: Latents) -> Images:
        """Images of latents."""
        return self.decoder(latents)

    def forward(self, images: Images) -> Images:
        """Reconstruct images."""
        return self.decode(self.encode(images))
