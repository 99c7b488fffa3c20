"""The Wasserstein GAN with weight clipping (Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875)."""

from typing import Any

import torch
from torch import nn
from torch.optim import RMSprop

from lightning_gen.checks import check_above
from lightning_gen.losses.adversarial import WASSERSTEIN
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.networks.discriminator import LinearHead
from lightning_gen.types import ImageShape


class WGAN(LatentGAN):
    """A critic with clipped weights, trained nearly to optimality before each step of the generator.

    The critic maximises E[f(x)] - E[f(G(z))], which estimates the Wasserstein distance up to the Lipschitz
    constant of the critic: the logged ``loss/discriminator`` is minus this estimate, and rises to 0 as samples improve.
    Both players use RMSprop (algorithm 1 of the paper).

    Args:
        image_shape: (channels, height, width).
        weight_clip: after each critic step, the critic's weights are clipped to [-weight_clip, weight_clip].
        n_critic: number of critic steps per generator step.
        generator_lr: learning rate of the generator's RMSprop.
        discriminator_lr: learning rate of the critic's RMSprop.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

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
            objective=WASSERSTEIN,
            image_shape=image_shape,
            n_critic=n_critic,
            generator_lr=generator_lr,
            discriminator_lr=discriminator_lr,
            **kwargs,
        )
        check_above(0, weight_clip=weight_clip, note=", such as 0.01")
        self.weight_clip = weight_clip
        self.set_network(self.make_generator())
        self.discriminator = self.make_discriminator()
        self.save_hyperparameters()

    def make_head(self, features: int) -> nn.Module:
        """A layer without bias, which cancels in the difference of outputs."""
        return LinearHead(features, 1, bias=False)

    def configure_optimizers(self) -> Any:
        """One RMSprop per player, the generator's first: the paper found momentum harmful."""
        return self.with_lr_schedule(
            RMSprop(self.generator.parameters(), self.generator_lr),
            RMSprop(self.discriminator.parameters(), self.discriminator_lr),
        )

    @torch.no_grad()
    def constrain_discriminators(self) -> None:
        """Clip the critic's weights."""
        for parameter in self.discriminator.parameters():
            parameter.clamp_(-self.weight_clip, self.weight_clip)
