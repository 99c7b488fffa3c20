"""The generative adversarial network (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661)."""

from typing import Any, Literal

from lightning_gen.losses.adversarial import MINIMAX, NON_SATURATING
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.networks.discriminator import Architecture, Norm
from lightning_gen.types import ImageShape


class GAN(LatentGAN):
    r"""Fully connected generator and discriminator with the minimax or the non-saturating loss.

    The discriminator maximises :math:`E[\log D(x)] + E[\log(1 - D(G(z)))]`. The generator minimises the same
    (``minimax``), or maximises :math:`E[\log D(G(z))]` (``non_saturating``), whose gradient does not vanish where
    the discriminator is confident (section 3 of the paper).

    Args:
        image_shape: (channels, height, width).
        loss: loss of the generator.
        network: architecture of generator and discriminator.
        discriminator_norm: ``batch``, ``spectral`` or ``none``.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        loss: Literal["non_saturating", "minimax"] = "non_saturating",
        network: Architecture = "mlp",
        discriminator_norm: Norm = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            objective=MINIMAX if loss == "minimax" else NON_SATURATING,
            image_shape=image_shape,
            network=network,
            discriminator_norm=discriminator_norm,
            **kwargs,
        )
        self.set_network(self.make_generator())
        self.discriminator = self.make_discriminator()
        self.save_hyperparameters()
