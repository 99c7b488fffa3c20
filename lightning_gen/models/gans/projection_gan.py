"""The GAN with projection discriminator (Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637)."""

from typing import Any

from torch import nn

from lightning_gen.losses.adversarial import HINGE
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.models.latents import ConditionalLatentSampling, check_num_classes
from lightning_gen.networks.discriminator import Norm, ProjectionHead
from lightning_gen.networks.resnet import ResNetGenerator
from lightning_gen.types import ImageShape


class ProjectionGAN(ConditionalLatentSampling, LatentGAN):
    """Residual networks with the hinge loss, conditional BatchNorm in the generator and a projection discriminator.

    The discriminator adds <V(y), f(x)>, the projection of an image's features on its class, to its logit.

    Args:
        image_shape: (channels, side, side), side 16, 32, 64 or 128.
        num_classes: number of classes; the command line takes it from the data.
        discriminator_norm: ``spectral``, ``batch`` or ``none``.
        latent_dim: number of latent dimensions.
        n_critic: number of discriminator steps per generator step.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int,
        discriminator_norm: Norm = "spectral",
        latent_dim: int = 128,
        n_critic: int = 5,
        beta1: float = 0.0,
        beta2: float = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            objective=HINGE,
            image_shape=image_shape,
            network="resnet",
            discriminator_norm=discriminator_norm,
            latent_dim=latent_dim,
            n_critic=n_critic,
            beta1=beta1,
            beta2=beta2,
            **kwargs,
        )
        self.num_classes = check_num_classes(type(self), num_classes)
        self.set_network(self.make_generator())
        self.discriminator = self.make_discriminator()
        self.save_hyperparameters()

    def make_generator(self) -> nn.Module:
        """A residual generator with conditional BatchNorm."""
        network = ResNetGenerator(self.latent_dim, self.image_shape, self.width, self.num_classes)
        return nn.Sequential(network, nn.Tanh())

    def make_head(self, features: int) -> nn.Module:
        """A projection head."""
        return ProjectionHead(features, self.num_classes)
