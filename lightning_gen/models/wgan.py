"""The Wasserstein GAN with weight clipping (Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875)."""

from typing import Any

import torch
from torch import nn
from torch.optim import RMSprop

from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import WASSERSTEIN
from lightning_gen.models.latent_gan import LatentGAN
from lightning_gen.networks.discriminator import LinearHead
from lightning_gen.types import ImageShape


class WGAN(LatentGAN):
    """A critic with weights in a box, trained nearly to its optimum for each step of the generator.

    The critic maximises E[f(x)] - E[f(G(z))], which estimates the Wasserstein distance up to the factor by which the
    box bounds the critic's slope: the logged ``loss/discriminator`` is minus that estimate, and rises to 0 as samples
    improve. Both players use RMSprop (algorithm 1 of the paper).

    Args:
        image_shape: (channels, height, width).
        weight_clip: the box: after each of its steps every weight of the critic is held in [-weight_clip, weight_clip].
        n_critic: steps of the critic for one of the generator.
        generator_lr: RMSprop's learning rate of the generator.
        discriminator_lr: RMSprop's learning rate of the critic.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    objective = WASSERSTEIN

    def __init__(
        self,
        image_shape: ImageShape,
        weight_clip: float = 0.01,
        n_critic: int = 5,
        generator_lr: float = 5e-5,
        discriminator_lr: float = 5e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_shape=image_shape,
            n_critic=n_critic,
            generator_lr=generator_lr,
            discriminator_lr=discriminator_lr,
            **kwargs,
        )
        if weight_clip <= 0:
            raise InputError(f"model.weight_clip is {weight_clip}; it must be above 0, such as 0.01")
        self.save_hyperparameters()
        self.weight_clip = weight_clip
        self.build()

    def make_head(self, features: int) -> nn.Module:
        """A layer without bias: a difference of outputs does not see it."""
        return LinearHead(features, 1, bias=False)

    def configure_optimizers(self) -> Any:
        """RMSprop for each player, the generator's first: the paper found momentum to harm."""
        return self.scheduled(
            RMSprop(self.generator.parameters(), self.generator_lr),
            RMSprop(self.discriminator.parameters(), self.discriminator_lr),
        )

    @torch.no_grad()
    def constrain(self) -> None:
        """Clip the critic's weights to the box."""
        for parameter in self.discriminator.parameters():
            parameter.clamp_(-self.weight_clip, self.weight_clip)
