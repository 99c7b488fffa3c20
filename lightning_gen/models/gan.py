"""The generative adversarial network (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661)."""

from typing import Any, Literal

from lightning_gen.losses.adversarial import MINIMAX, NON_SATURATING, Objective
from lightning_gen.models.latent_gan import LatentGAN
from lightning_gen.networks.discriminator import Norm, PlayerKind
from lightning_gen.types import ImageShape


class GAN(LatentGAN):
    r"""Fully connected players under the minimax or the non-saturating loss.

    The discriminator maximises :math:`E[\log D(x)] + E[\log(1 - D(G(z)))]`. The generator minimises the same
    (``minimax``), or maximises :math:`E[\log D(G(z))]` (``non_saturating``), whose gradient is strong where the
    discriminator is sure (section 3 of the paper).

    Args:
        image_shape: (channels, height, width).
        loss: the generator's.
        network: both players' architecture.
        discriminator_norm: ``batch``, ``spectral`` or ``none``.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        loss: Literal["non_saturating", "minimax"] = "non_saturating",
        network: PlayerKind = "mlp",
        discriminator_norm: Norm = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, network=network, discriminator_norm=discriminator_norm, **kwargs)
        self.save_hyperparameters()
        self.loss = loss
        self.build()

    @property
    def objective(self) -> Objective:
        """Cross entropy for the discriminator, and the generator's side that was asked for."""
        return MINIMAX if self.loss == "minimax" else NON_SATURATING
