"""The Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028)."""

from typing import Any, Literal

from torch import nn

from lightning_gen.checks import check_at_least
from lightning_gen.losses.adversarial import WASSERSTEIN
from lightning_gen.losses.penalties import gradient_penalty
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.networks.discriminator import LinearHead
from lightning_gen.types import Batch, Images, ImageShape, Loss


class WGANGP(LatentGAN):
    """A critic whose gradient norm is penalised towards 1 between real and generated images.

    L_D = E[f(G(z))] - E[f(x)] + weight E[(|grad f(e x + (1 - e) G(z))|_2 - 1)^2]. The critic has no BatchNorm,
    because the logit of an image must not depend on other images.

    Args:
        image_shape: (channels, height, width).
        penalty_weight: weight of the gradient penalty.
        n_critic: number of critic steps per generator step.
        discriminator_norm: ``none`` or ``spectral``.
        generator_lr: learning rate of the generator's Adam.
        discriminator_lr: learning rate of the critic's Adam.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if a value is out of range, or ``minibatch`` is ``discrimination``.
    """

    penalises_gradient = True

    def __init__(
        self,
        image_shape: ImageShape,
        penalty_weight: float = 10.0,
        n_critic: int = 5,
        discriminator_norm: Literal["none", "spectral"] = "none",
        generator_lr: float = 1e-4,
        discriminator_lr: float = 1e-4,
        beta1: float = 0.0,
        beta2: float = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            objective=WASSERSTEIN,
            image_shape=image_shape,
            n_critic=n_critic,
            discriminator_norm=discriminator_norm,
            generator_lr=generator_lr,
            discriminator_lr=discriminator_lr,
            beta1=beta1,
            beta2=beta2,
            **kwargs,
        )
        check_at_least(0, penalty_weight=penalty_weight)
        self.penalty_weight = penalty_weight
        self.set_network(self.make_generator())
        self.discriminator = self.make_discriminator()
        self.save_hyperparameters()

    def make_head(self, features: int) -> nn.Module:
        """A layer without bias, which cancels in the difference of outputs."""
        return LinearHead(features, 1, bias=False)

    def discriminator_penalty(self, batch: Batch, fakes: Images) -> Loss:
        """The gradient penalty between real and generated images."""
        penalty = gradient_penalty(
            lambda images: self.logits(images, batch.labels), batch.images, fakes, packing=self.packing
        )
        return Loss(self.penalty_weight * penalty, {"gradient_penalty": penalty})
