"""DCGAN: the deep convolutional GAN (Radford et al. 2015, https://arxiv.org/abs/1511.06434)."""

from typing import Any

from torch import nn
from torch.optim import Adam

from lightning_gen.losses.adversarial import non_saturating_discriminator, non_saturating_generator
from lightning_gen.models.adversarial import AdversarialModule
from lightning_gen.models.base import GaussianLatents
from lightning_gen.networks.dcgan import DCGANDecoder, DCGANEncoder
from lightning_gen.noise import randn
from lightning_gen.types import Batch, Images, ImageShape, Latents, Loss


class DCGAN(GaussianLatents, AdversarialModule):
    """All-convolutional generator and discriminator under the non-saturating loss.

    As in the paper but for the latents, which are standard normal and not uniform (what the field has settled on).
    The discriminator sees real and generated images in batches of their own, each with its BatchNorm statistics.

    Args:
        image_shape: (channels, side, side), side in 8..128.
        latent_dim: dimensions of the normal latents.
        width: channels next to the image, doubled at each halving of the side.
        generator_lr: Adam's learning rate of the generator.
        discriminator_lr: Adam's learning rate of the discriminator.
        beta1: Adam's decay of the mean gradient.
        **kwargs: see :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int = 100,
        width: int = 64,
        generator_lr: float = 2e-4,
        discriminator_lr: float = 2e-4,
        beta1: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        self.latent_dim = latent_dim
        self.generator_lr, self.discriminator_lr, self.beta1 = generator_lr, discriminator_lr, beta1
        self.generator = nn.Sequential(DCGANDecoder(latent_dim, self.image_shape, width), nn.Tanh())
        self.discriminator = DCGANEncoder(self.image_shape, 1, width)
        self.follow()

    def producer(self) -> nn.Module:
        """The generator."""
        return self.generator

    def generators(self) -> list[nn.Module]:
        """The generator."""
        return [self.generator]

    def discriminators(self) -> list[nn.Module]:
        """The discriminator."""
        return [self.discriminator]

    def configure_optimizers(self) -> Any:
        """Adam for each player, the generator's first."""
        betas = (self.beta1, 0.999)
        return self.scheduled(
            Adam(self.generator.parameters(), self.generator_lr, betas),
            Adam(self.discriminator.parameters(), self.discriminator_lr, betas),
        )

    def generate(self, batch: Batch) -> Images:
        """Generate as many images as the batch holds."""
        return self.generator(randn(len(batch.images), self.latent_dim, device=self.device))

    def discriminator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """Cross entropy of telling real from generated."""
        real, fake = self.discriminator(batch.images).squeeze(1), self.discriminator(fakes).squeeze(1)
        total = non_saturating_discriminator(real, fake)
        terms = {"discriminator": total, "real_logit": real.mean(), "fake_logit": fake.mean()}
        return Loss(total, terms)

    def generator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """The non-saturating loss of the generated images."""
        total = non_saturating_generator(self.discriminator(fakes).squeeze(1))
        return Loss(total, {"generator": total})

    def decode(self, latents: Latents) -> Images:
        """Generate an image from each latent (num, latent_dim)."""
        with self.producing() as network:
            return network(latents)
