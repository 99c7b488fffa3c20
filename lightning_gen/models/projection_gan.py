"""The GAN with projection discriminator (Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637)."""

from typing import Any

from torch import nn

from lightning_gen.losses.adversarial import HINGE
from lightning_gen.models.latent_gan import LatentGAN
from lightning_gen.models.latents import ClassLatents, classes_of
from lightning_gen.networks.discriminator import Norm, ProjectionHead
from lightning_gen.networks.resnet import ResNetGenerator
from lightning_gen.types import ImageShape


class ProjectionGAN(ClassLatents, LatentGAN):
    """Residual players under the hinge loss: conditional BatchNorm in the generator, a projection in the discriminator.

    The discriminator adds the projection of an image's features on its class, <V(y), f(x)>, to its logit.

    Args:
        image_shape: (channels, side, side), side 16, 32, 64 or 128.
        num_classes: classes of the data; the command line takes it from there.
        discriminator_norm: ``spectral``, ``batch`` or ``none``.
        latent_dim: dimensions of the normal latents.
        n_critic: steps of the discriminator for one of the generator.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the mean squared gradient.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    objective = HINGE

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
            image_shape=image_shape,
            network="resnet",
            discriminator_norm=discriminator_norm,
            latent_dim=latent_dim,
            n_critic=n_critic,
            beta1=beta1,
            beta2=beta2,
            **kwargs,
        )
        self.save_hyperparameters()
        self.num_classes = classes_of(type(self), num_classes)
        self.build()

    def make_generator(self) -> nn.Module:
        """A residual generator whose BatchNorms depend on the class."""
        network = ResNetGenerator(self.latent_dim, self.image_shape, self.width, self.num_classes)
        return nn.Sequential(network, nn.Tanh())

    def make_head(self, features: int) -> nn.Module:
        """The projection on the class."""
        return ProjectionHead(features, self.num_classes)
