"""The GAN with spectral normalisation (Miyato et al. 2018, https://arxiv.org/abs/1802.05957)."""

from typing import Any

from lightning_gen.losses.adversarial import HINGE
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.networks.discriminator import Architecture, Norm
from lightning_gen.types import ImageShape


class SNGAN(LatentGAN):
    """Residual networks with the hinge loss and spectral normalisation of every layer of the discriminator.

    Args:
        image_shape: (channels, side, side), side 16, 32, 64 or 128.
        network: architecture of generator and discriminator.
        discriminator_norm: ``spectral``, or ``batch`` or ``none`` for comparison.
        latent_dim: number of latent dimensions.
        n_critic: number of discriminator steps per generator step.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        network: Architecture = "resnet",
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
            network=network,
            discriminator_norm=discriminator_norm,
            latent_dim=latent_dim,
            n_critic=n_critic,
            beta1=beta1,
            beta2=beta2,
            **kwargs,
        )
        self.set_network(self.make_generator())
        self.discriminator = self.make_discriminator()
        self.save_hyperparameters()
