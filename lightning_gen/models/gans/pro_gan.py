"""ProGAN: progressive growing of GANs (Karras et al. 2018, https://arxiv.org/abs/1710.10196)."""

from dataclasses import replace
from functools import partial
from typing import Any

from lightning_gen.checks import check_at_least
from lightning_gen.losses.adversarial import WASSERSTEIN, wasserstein_discriminator_loss
from lightning_gen.losses.penalties import gradient_penalty
from lightning_gen.models.gans.progressive_growth import ProgressiveGrowth
from lightning_gen.networks.progressive import ProgressiveDiscriminator, ProgressiveGenerator
from lightning_gen.types import Batch, Images, ImageShape, Latents, Loss


class ProGAN(ProgressiveGrowth[ProgressiveGenerator]):
    """A GAN whose networks grow from 4 x 4 pixels to full resolution, with equalised learning rates and pixel norm.

    L_D = E[f(G(z))] - E[f(x)] + weight E[(|grad f(e x + (1 - e) G(z))|_2 - 1)^2] + drift E[f(x)^2], L_G = -E[f(G(z))].
    Gradients are with respect to images of full resolution at every level, like the images of the authors'
    experiments. The learning rate is the same at all resolutions.

    Args:
        image_shape: (channels, side, side), a power of two in 8..1024.
        penalty_weight: weight of the gradient penalty.
        drift: weight of the mean squared logit of real images.
        latent_dim: number of latent dimensions.
        channel_base: number of channels times the side of a feature map.
        channel_max: maximum number of channels.
        stable_images: number of images at each resolution before the next one fades in.
        fading_images: number of images over which a resolution fades in; 0 for a jump.
        generator_lr: learning rate of the generator.
        discriminator_lr: learning rate of the discriminator.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        ema_half_life: half-life of the EMA of the weights, in images; None for no EMA. The default is a decay of 0.999
            per batch of 16.
        **kwargs: see :class:`ProgressiveGrowth`, :class:`BaseLatentGAN`, :class:`AdversarialModule` and
            :class:`GenerativeModule`.

    Raises:
        InputError: if a value is out of range.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        penalty_weight: float = 10.0,
        drift: float = 1e-3,
        latent_dim: int = 512,
        channel_base: int = 16384,
        channel_max: int = 512,
        stable_images: int = 800_000,
        fading_images: int = 800_000,
        generator_lr: float = 1e-3,
        discriminator_lr: float = 1e-3,
        beta1: float = 0.0,
        beta2: float = 0.99,
        ema_half_life: float | None = 11_090,
        **kwargs: Any,
    ) -> None:
        check_at_least(0, penalty_weight=penalty_weight, drift=drift)
        check_at_least(1, latent_dim=latent_dim, channel_base=channel_base, channel_max=channel_max)
        super().__init__(
            objective=replace(WASSERSTEIN, discriminator_loss=partial(wasserstein_discriminator_loss, drift=drift)),
            image_shape=image_shape,
            latent_dim=latent_dim,
            stable_images=stable_images,
            fading_images=fading_images,
            generator_lr=generator_lr,
            discriminator_lr=discriminator_lr,
            beta1=beta1,
            beta2=beta2,
            ema_half_life=ema_half_life,
            **kwargs,
        )
        self.penalty_weight = penalty_weight
        channels = (channel_base, channel_max, self.start_level)
        self.set_network(ProgressiveGenerator(latent_dim, self.image_shape, *channels))
        self.discriminator = ProgressiveDiscriminator(self.pack_shape, *channels)
        self.save_hyperparameters()

    def decode(self, latents: Latents) -> Images:
        """Images of latents, clamped to [-1, 1]: the generator's output is linear."""
        return super().decode(latents).clamp(-1, 1)

    def discriminator_penalty(self, batch: Batch, fakes: Images) -> Loss:
        """The gradient penalty between real and generated images."""
        penalty = gradient_penalty(
            lambda images: self.logits(images, batch.labels), batch.images, fakes, packing=self.packing
        )
        return Loss(self.penalty_weight * penalty, {"gradient_penalty": penalty})
