"""The GAN with spectral normalisation (Miyato et al. 2018, https://arxiv.org/abs/1802.05957)."""

from typing import Any

from lightning_gen.losses.adversarial import HINGE
from lightning_gen.models.latent_gan import LatentGAN
from lightning_gen.networks.discriminator import Norm, PlayerKind
from lightning_gen.types import ImageShape


class SNGAN(LatentGAN):
    """Residual players under the hinge loss, every weight of the discriminator divided by its largest singular value.

    Args:
        image_shape: (channels, side, side), side 16, 32, 64 or 128.
        network: both players' architecture.
        discriminator_norm: ``spectral``, or ``batch`` or ``none`` to see what it does.
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
        network: PlayerKind = "resnet",
        discriminator_norm: Norm = "spectral",
        latent_dim: int = 128,
        n_critic: int = 5,
        beta1: float = 0.0,
        beta2: float = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_shape=image_shape,
            network=network,
            discriminator_norm=discriminator_norm,
            latent_dim=latent_dim,
            n_critic=n_critic,
            beta1=beta1,
            beta2=beta2,
            **kwargs,
        )
        self.save_hyperparameters()
        self.build()
