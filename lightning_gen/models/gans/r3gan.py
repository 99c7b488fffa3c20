"""R3GAN (Huang et al. 2024, https://arxiv.org/abs/2501.05441)."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer

from lightning_gen.checks import check_above, check_at_least, check_fraction
from lightning_gen.losses.adversarial import RELATIVISTIC_PAIRING
from lightning_gen.losses.penalties import r1_penalty
from lightning_gen.models.gans.base import BaseLatentGAN
from lightning_gen.models.latents import OptionalClassSampling, check_num_classes
from lightning_gen.models.schedules import CosineSchedule
from lightning_gen.networks.ada import AdaGroup
from lightning_gen.networks.r3 import R3Discriminator, R3Generator, stage_widths
from lightning_gen.types import Batch, Images, ImageShape, Latents, Loss


class R3GAN(OptionalClassSampling, BaseLatentGAN[R3Generator]):
    r"""The relativistic pairing loss, gradient penalties at real and generated images, and residual networks.

    L_D = E[softplus(-(l(x) - l(G(z))))] + gamma / 2 (E[|grad l(x)|_2^2] + E[|grad l(G(z))|_2^2]), R1 and R2, in every
    ``penalty_every``-th batch with that many times the weight; L_G = E[softplus(-(l(G(z)) - l(x)))]. Each generated
    image is compared with one real image, which keeps modes from being dropped; with both penalties, training converges
    locally.

    The learning rates, beta2, gamma, the half-life of the EMA and, with ``augment: ada``, the probability of the
    augmentations follow cosine schedules over the burn-in, see :class:`CosineSchedule`; pairs are their values at its
    start and from its end on. The half-life and the probability start at 0. These schedules replace those of
    :class:`GenerativeModule`. The defaults are the paper's for CIFAR-10, but without its augmentation and its EMA.

    Args:
        image_shape: (channels, side, side); the side is a power of two in 8..1024.
        conditional: whether to condition both players on the class.
        num_classes: number of classes; the command line takes it from the data.
        latent_dim: number of latent dimensions, and of features of a class in the generator.
        width: number of channels of maps up to ``full_width_side``; half as many at each doubling of the side.
        full_width_side: the largest side of maps with ``width`` channels.
        blocks: number of residual blocks per resolution.
        expansion: factor of the number of channels within a block.
        group_width: number of channels per group of a block's 3 x 3 convolution.
        burn_in_images: number of images over which the schedules run; 0 for their final values throughout.
        gamma: weight of the penalties.
        penalty_every: number of batches between two penalties.
        generator_lr: learning rate of the generator at the start.
        discriminator_lr: learning rate of the discriminator at the start.
        final_lr: factor of both learning rates at the end of the burn-in.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        ada_probability: probability of ADA's operations at the end of the burn-in, half of it for colours.
        ada_groups: groups of ADA's operations.
        **kwargs: see :class:`BaseLatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if a value is out of range.
    """

    ada_multipliers: ClassVar[Mapping[str, float] | None] = {"color": 0.5}

    def __init__(
        self,
        image_shape: ImageShape,
        conditional: bool = False,
        num_classes: int = 0,
        latent_dim: int = 64,
        width: int = 768,
        full_width_side: int = 32,
        blocks: int = 2,
        expansion: int = 2,
        group_width: int = 16,
        burn_in_images: int = 20_000_000,
        gamma: tuple[float, float] = (0.05, 0.005),
        penalty_every: int = 1,
        generator_lr: float = 2e-4,
        discriminator_lr: float = 2e-4,
        final_lr: float = 0.25,
        beta1: float = 0.0,
        beta2: tuple[float, float] = (0.9, 0.99),
        ada_probability: float | None = None,
        ada_groups: tuple[AdaGroup, ...] = ("blit", "geom", "color", "cutout"),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            objective=RELATIVISTIC_PAIRING,
            image_shape=image_shape,
            latent_dim=latent_dim,
            penalty_every=penalty_every,
            generator_lr=generator_lr,
            discriminator_lr=discriminator_lr,
            beta1=beta1,
            beta2=beta2[0],
            lr_schedule="constant",
            decay_start=0.0,
            warmup_images=0,
            ada_probability=ada_probability,
            ada_groups=ada_groups,
            **kwargs,
        )
        check_at_least(1, latent_dim=latent_dim, width=width, blocks=blocks, expansion=expansion)
        check_at_least(1, group_width=group_width)
        check_at_least(4, full_width_side=full_width_side)
        check_at_least(0, burn_in_images=burn_in_images)
        check_above(0, final_lr=final_lr)
        for value in gamma:
            check_at_least(0, gamma=value)
        for value in beta2:
            check_fraction(beta2=value)
        self.num_classes = check_num_classes(type(self), num_classes) if conditional else 0
        self.lr_factor = CosineSchedule(1.0, final_lr, burn_in_images)
        self.beta2 = CosineSchedule(*beta2, burn_in_images)
        self.gamma = CosineSchedule(*gamma, burn_in_images)
        self.probability = CosineSchedule(0.0, ada_probability or 0.0, burn_in_images)
        channels, widths = image_shape[0], stage_widths(self.image_shape, width, full_width_side)
        options = (widths, blocks, expansion, group_width, self.num_classes)
        self.set_network(R3Generator(latent_dim, channels, *options))
        self.discriminator = R3Discriminator(channels * self.packing, *options)
        self.half_life = CosineSchedule(0.0, self.ema_half_life or 0.0, burn_in_images)
        if self.ema is not None and burn_in_images:
            self.ema.ramp_up = math.inf  # the schedule is the ramp
        self.save_hyperparameters()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Set the optimizers' learning rates and decays, then step.

        As in PyTorch's schedulers, the rate at the start is ``initial_lr`` of the optimizer, which the watchdog lowers.
        """
        factor, betas = self.lr_factor(self.images_seen), (self.betas[0], self.beta2(self.images_seen))
        optimizers = cast(list[LightningOptimizer], self.optimizers())
        for optimizer, lr in zip(optimizers, (self.generator_lr, self.discriminator_lr), strict=True):
            for group in optimizer.param_groups:
                group.update(lr=group.setdefault("initial_lr", lr) * factor, betas=betas)
        super().training_step(batch, batch_idx)

    def augmentation_probability(self) -> float:
        """The current probability of ADA's operations, of the schedule."""
        return self.probability(self.images_seen)

    def update_ema(self) -> None:
        """Update the EMA with the half-life of the schedule."""
        if self.ema is not None:
            self.ema.half_life = self.half_life(self.images_seen)
        super().update_ema()

    def discriminator_penalty(self, batch: Batch, fakes: Images) -> Loss:
        """R1 and R2: the mean squared gradients at the batch's images and at the generated images."""
        r1, r2 = (
            r1_penalty(lambda inputs: self.logits(inputs, batch.labels), images) for images in (batch.images, fakes)
        )
        return Loss(self.gamma(self.images_seen) / 2 * (r1 + r2), {"r1": r1, "r2": r2})

    def generator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """The loss of the generated images, each beside the real image of its pair."""
        with torch.no_grad():
            real = self.logits(batch.images, batch.labels)
        total = self.objective.generator_loss(real, self.logits(fakes, batch.labels))
        return Loss(total, {"generator": total})

    def decode(self, latents: Latents) -> Images:
        """Images of latents, clamped to [-1, 1]."""
        return super().decode(latents).clamp(-1, 1)
