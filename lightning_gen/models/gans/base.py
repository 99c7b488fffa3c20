"""What GANs from latents to images share whatever their networks: losses, optimizers, remedies against failures.

A model builds a generator and a discriminator and passes its objective; it may add a penalty, a constraint or a
condition. Every model supports these remedies by configuration:

* ``packing``: the discriminator receives several images at once (Lin et al. 2018);
* ``instance_noise``: decaying noise on every input of the discriminator (Sonderby et al. 2017);
* ``augment``: DiffAugment (Zhao et al. 2020), or ADA (Karras et al. 2020), on every input of the discriminator;
* ``label_smoothing``: one-sided (Salimans et al. 2016);
* ``generator_lr`` and ``discriminator_lr``: the two time-scale update rule (Heusel et al. 2017, https://arxiv.org/abs/1706.08500);
* ``clip``, ``n_critic`` and ``ema_half_life`` of the base classes.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import Logits, Objective
from lightning_gen.models.adversarial import AdversarialModule
from lightning_gen.models.base import Network
from lightning_gen.models.gans.augmentation_probability import AugmentationProbability
from lightning_gen.models.latents import LatentSampling, join_classes
from lightning_gen.networks.ada import BGC, AdaGroup, ada_augment
from lightning_gen.networks.augment import Augmentation, diff_augment
from lightning_gen.networks.discriminator_inputs import add_noise, pack
from lightning_gen.types import Batch, Images, ImageShape, Labels, Latents, Loss


class BaseLatentGAN(LatentSampling, AdversarialModule[Network]):
    """Base class of GANs: a generator from standard normal latents to images, and a discriminator of images.

    The network object is the generator. After ``super().__init__``, a model sets it and ``discriminator``. Latents are
    standard normal, also for papers that use another distribution.

    Args:
        objective: losses of the discriminator and the generator; passed by the model.
        image_shape: (channels, height, width).
        latent_dim: number of latent dimensions.
        generator_lr: learning rate of the generator.
        discriminator_lr: learning rate of the discriminator.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        packing: number of images that the discriminator receives at once; it must divide the batch.
        instance_noise: standard deviation of noise on the discriminator's inputs, in units of [-1, 1].
        instance_noise_images: number of images over which the noise decays linearly to 0; None for constant noise.
        augment: augmentations of the discriminator's inputs: ``color``, ``translation``, ``cutout`` of DiffAugment, or
            ``ada``.
        ada_target: mean sign of the logits of real images, in (-1, 1), at which ADA's probability does not change.
        ada_images: number of images over which ADA's probability changes by 1.
        ada_probability: constant probability of each of ADA's operations; None for an adaptive one.
        ada_groups: groups of ADA's operations: ``blit``, ``geom``, ``color``, ``filter``, ``noise``, ``cutout``.
        label_smoothing: shift of the target of real images towards that of generated ones, in [0, 1).
        **kwargs: see :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    ada_multipliers: ClassVar[Mapping[str, float] | None] = None
    """Factors of ADA's probability by operation or group; None for 1."""
    discriminator: nn.Module
    """Module from packed images, and labels (packs, packing) or None, to outputs (packs, outputs), the logit first."""

    def __init__(
        self,
        objective: Objective,
        image_shape: ImageShape,
        latent_dim: int = 100,
        generator_lr: float = 2e-4,
        discriminator_lr: float = 2e-4,
        beta1: float = 0.5,
        beta2: float = 0.999,
        packing: int = 1,
        instance_noise: float = 0.0,
        instance_noise_images: int | None = None,
        augment: tuple[Augmentation, ...] | Literal["ada"] = (),
        ada_target: float = 0.6,
        ada_images: int = 500_000,
        ada_probability: float | None = None,
        ada_groups: tuple[AdaGroup, ...] = BGC,
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_at_least(1, packing=packing, instance_noise_images=instance_noise_images)
        check_at_least(0, instance_noise=instance_noise, ada_probability=ada_probability)
        self.objective = objective.with_label_smoothing(label_smoothing)
        self.latent_dim, self.packing, self.label_smoothing = latent_dim, packing, label_smoothing
        self.generator_lr, self.discriminator_lr, self.betas = generator_lr, discriminator_lr, (beta1, beta2)
        self.instance_noise, self.instance_noise_images = instance_noise, instance_noise_images
        self.input_transforms: list[Callable[[Images], Images]] = []
        self.augment, self.ada_probability, self.ada_groups = augment, ada_probability, ada_groups
        self.adaptive_probability: AugmentationProbability | None = None
        if augment == "ada":
            self.input_transforms.append(self.augment_by_ada)
            if ada_probability is None:
                if self.objective.chance_logit is None:
                    raise InputError(
                        "model.augment is ada, whose adaptive probability needs logits with a sign, and the loss of "
                        "this model depends on differences of logits alone; set model.ada_probability"
                    )
                self.adaptive_probability = AugmentationProbability(ada_target, ada_images)
        elif ada_probability is not None:
            raise InputError(f"model.ada_probability is {ada_probability}, and model.augment is not ada")
        elif augment:
            self.input_transforms.append(partial(diff_augment, policy=augment))
        if instance_noise:
            self.input_transforms.append(self.add_instance_noise)

    # ---- generator and discriminator

    @property
    def generator(self) -> nn.Module:
        """The network object."""
        return self.network

    def discriminators(self) -> list[nn.Module]:
        """The discriminator."""
        return [self.discriminator]

    @property
    def pack_shape(self) -> ImageShape:
        """Shape of the discriminator's input without a condition: ``image_shape`` with the channels of a pack."""
        channels, height, width = self.image_shape
        return channels * self.packing, height, width

    def network_options(self) -> dict[str, Any]:
        """Keyword arguments of every call of the generator and of the discriminator; none by default."""
        return {}

    # ---- the discriminator's inputs and outputs

    def discriminator_input(self, images: Images, labels: Labels | None) -> Tensor:
        """Transform real or generated images, add their condition and pack them."""
        for transform in self.input_transforms:
            images = transform(images)
        return pack(self.add_condition(images, labels), self.packing)

    def add_condition(self, images: Images, labels: Labels | None) -> Tensor:
        """Add a condition to images as further channels; none by default."""
        return images

    def add_instance_noise(self, images: Images) -> Images:
        """Add instance noise of the current standard deviation."""
        decay = 1.0
        if self.instance_noise_images is not None:
            decay = max(0.0, 1.0 - self.images_seen / self.instance_noise_images)
        return add_noise(images, self.instance_noise * decay)

    def augment_by_ada(self, images: Images) -> Images:
        """Augment images by ADA with the current probability."""
        return ada_augment(images, self.augmentation_probability(), self.ada_groups, self.ada_multipliers)

    def augmentation_probability(self) -> float:
        """The current probability of ADA's operations; 0 without ADA."""
        if self.adaptive_probability is not None:
            return self.adaptive_probability.value
        return self.ada_probability or 0.0

    def update_state(self, batch: Batch, terms: dict[str, Tensor]) -> None:
        """Add ADA's probability to the terms, and adapt it."""
        if self.augment == "ada":
            terms["ada_p"] = torch.full((), self.augmentation_probability(), device=self.device)
        if self.adaptive_probability is not None:
            self.adaptive_probability.update(terms["real_sign"], len(batch.images), self.batches_seen)

    def discriminator_outputs(self, images: Images, labels: Labels | None) -> Tensor:
        """Outputs (packs, outputs) of the discriminator, the logit first."""
        inputs = self.discriminator_input(images, labels)
        pack_labels = labels.reshape(len(inputs), -1) if labels is not None else None
        return self.discriminator(inputs, pack_labels, **self.network_options())

    def logits(self, images: Images, labels: Labels | None) -> Logits:
        """Logits of the discriminator, one per pack."""
        return self.discriminator_outputs(images, labels)[:, 0]

    # ---- losses and sampling

    def generate(self, batch: Batch) -> Images:
        """Generate one image per real image of the batch."""
        return self.network(self.latents_for(batch), **self.network_options())

    def discriminator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """The objective's discriminator loss."""
        real, fake = self.logits(batch.images, batch.labels), self.logits(fakes, batch.labels)
        total = self.objective.discriminator_loss(real, fake)
        return Loss(total, self.discriminator_terms(total, real, fake))

    def discriminator_terms(self, loss: Tensor, real: Logits, fake: Logits) -> dict[str, Tensor]:
        """The terms of every discriminator loss: the adversarial loss, and means of the logits and of their signs.

        Args:
            loss: the adversarial loss.
            real: logits of real images.
            fake: logits of generated images.

        Returns:
            The terms; ``real_sign``, from which ADA adapts its probability, if it does.
        """
        terms = {"discriminator": loss, "real_logit": real.mean(), "fake_logit": fake.mean()}
        if self.adaptive_probability is not None:
            terms["real_sign"] = (real.detach().float() - (self.objective.chance_logit or 0.0)).sign().mean()
        return terms

    def generator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """The objective's generator loss."""
        total = self.objective.generator_loss(self.logits(fakes, batch.labels))
        return Loss(total, {"generator": total})

    def forward(self, latents: Latents, labels: Labels | None = None) -> Images:
        """G(z, y): images in [-1, 1] of latents, without gradients.

        Args:
            latents: z (batch, latent_dim), or for a conditional model also z with one-hot classes behind it, as
                :meth:`sample_latents` returns.
            labels: the class y of each image; only for a conditional model.

        Returns:
            The images.
        """
        return self.decode(join_classes(type(self).__name__, latents, labels, self.latent_dim, self.num_classes))

    def decode(self, latents: Latents) -> Images:
        """Images of latents."""
        with self.inference_network() as network:
            return network(latents, **self.network_options())
