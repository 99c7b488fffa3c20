"""What GANs from latents to images share: their players, their Adams, and the remedies against their failures.

A model names its objective, and adds a penalty, a constraint or a condition where it has one. The remedies are parts
that any of them takes by configuration:

* ``discriminator_norm: spectral`` bounds the discriminator's Lipschitz constant (Miyato et al. 2018);
* ``minibatch``: minibatch discrimination (Salimans et al. 2016) or minibatch standard deviation (Karras et al. 2018);
* ``packing``: the discriminator judges several images at once (Lin et al. 2018);
* ``instance_noise``: noise on all that it is shown, fading (Sonderby et al. 2017);
* ``augment``: DiffAugment on all that it is shown (Zhao et al. 2020);
* ``label_smoothing``: one-sided (Salimans et al. 2016);
* ``generator_lr`` and ``discriminator_lr``: two time scales (Heusel et al. 2017, https://arxiv.org/abs/1706.08500);
* ``clip``, ``n_critic`` and ``ema_half_life`` of the base classes.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import Adam

from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import Logits, Objective
from lightning_gen.models.adversarial import AdversarialModule
from lightning_gen.models.latents import GaussianLatents
from lightning_gen.networks.augment import Augmentation, diff_augment
from lightning_gen.networks.discriminator import (
    Comparison,
    LinearHead,
    Norm,
    PlayerKind,
    make_discriminator,
    make_generator,
)
from lightning_gen.networks.views import add_noise, pack
from lightning_gen.types import Batch, Images, ImageShape, Labels, Latents, Loss


class LatentGAN(GaussianLatents, AdversarialModule):
    """A generator from normal latents to images, and a discriminator of images.

    A subclass names its ``objective`` and calls :meth:`build` at the end of its constructor. Latents are standard
    normal whatever the paper drew (what the field has settled on).

    Args:
        image_shape: (channels, height, width).
        network: both players' architecture: ``mlp`` (any size), ``dcgan`` (square, 8 to 128 pixels) or ``resnet``
            (square, 16, 32, 64 or 128 pixels).
        latent_dim: dimensions of the normal latents.
        width: channels of a convolutional network next to the image.
        hidden: widths of an MLP's layers from the image's side.
        discriminator_norm: ``batch``, ``spectral`` or ``none``.
        generator_lr: learning rate of the generator.
        discriminator_lr: learning rate of the discriminator.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the mean squared gradient.
        minibatch: how the discriminator compares the images of a batch: ``discrimination``, ``stddev`` or ``none``.
        packing: images that the discriminator judges at once; it must divide the batch.
        instance_noise: standard deviation of noise on all that the discriminator is shown, in units of [-1, 1].
        instance_noise_images: images over which that noise fades linearly to nothing; it stays when None.
        augment: augmentations of all that the discriminator is shown: ``color``, ``translation``, ``cutout``.
        label_smoothing: how far the target of real images is moved towards that of generated ones, in [0, 1).
        **kwargs: see :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    planes: int = 0
    """Channels that :meth:`annotate` adds to an image."""

    def __init__(
        self,
        image_shape: ImageShape,
        network: PlayerKind = "dcgan",
        latent_dim: int = 100,
        width: int = 64,
        hidden: tuple[int, ...] = (256, 128),
        discriminator_norm: Norm = "batch",
        generator_lr: float = 2e-4,
        discriminator_lr: float = 2e-4,
        beta1: float = 0.5,
        beta2: float = 0.999,
        minibatch: Comparison = "none",
        packing: int = 1,
        instance_noise: float = 0.0,
        instance_noise_images: int | None = None,
        augment: tuple[Augmentation, ...] = (),
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        if packing < 1:
            raise InputError(f"model.packing is {packing}; it must be at least 1")
        if instance_noise < 0:
            raise InputError(f"model.instance_noise is {instance_noise}; it must not be negative")
        if instance_noise_images is not None and instance_noise_images < 1:
            raise InputError(f"model.instance_noise_images is {instance_noise_images}; it must be at least 1, or null")
        self.network, self.latent_dim, self.width, self.hidden = network, latent_dim, width, hidden
        self.discriminator_norm, self.minibatch, self.packing = discriminator_norm, minibatch, packing
        self.generator_lr, self.discriminator_lr, self.betas = generator_lr, discriminator_lr, (beta1, beta2)
        self.instance_noise, self.instance_noise_images = instance_noise, instance_noise_images
        self.label_smoothing = label_smoothing
        self.views: list[Callable[[Images], Images]] = []
        if augment:
            self.views.append(partial(diff_augment, policy=augment))
        if instance_noise:
            self.views.append(self.with_noise)

    # ---- what a model supplies

    @property
    @abstractmethod
    def objective(self) -> Objective:
        """What the two players minimise."""

    # ---- the players

    def build(self) -> None:
        """Build the players and begin the moving average."""
        self.losses = self.objective.smoothed(self.label_smoothing)
        self.generator = self.make_generator()
        self.discriminator = self.make_discriminator()
        self.follow()

    def make_generator(self) -> nn.Module:
        """Build the generator, from latents (and a class where there are classes) to images in [-1, 1]."""
        latents = self.latent_dim + self.num_classes
        return make_generator(self.network, latents, self.image_shape, self.hidden, self.width)

    def make_discriminator(self) -> nn.Module:
        """Build the discriminator, from packs of annotated images to outputs, the logit first."""
        channels, height, width = self.image_shape
        shape = ((channels + self.planes) * self.packing, height, width)
        return make_discriminator(
            self.network, shape, self.hidden, self.width, self.discriminator_norm, self.minibatch, self.make_head
        )

    def make_head(self, features: int) -> nn.Module:
        """Build the discriminator's last layer."""
        return LinearHead(features, 1)

    def producer(self) -> nn.Module:
        """The generator."""
        return self.generator

    def generators(self) -> list[nn.Module]:
        """The generator."""
        return [self.generator]

    def discriminators(self) -> list[nn.Module]:
        """The discriminator."""
        return [self.discriminator]

    def configure_optimizers(self) -> Any:
        """Adam for each player, the generator's first."""
        return self.scheduled(
            Adam(self.generator.parameters(), self.generator_lr, self.betas),
            Adam(self.discriminator.parameters(), self.discriminator_lr, self.betas),
        )

    # ---- what the discriminator sees

    def shown(self, images: Images, labels: Labels | None) -> Tensor:
        """What the discriminator is shown in place of images, real and generated alike.

        Args:
            images: the images.
            labels: their classes.

        Returns:
            The images through all remedies, annotated and packed.
        """
        for view in self.views:
            images = view(images)
        return pack(self.annotate(images, labels), self.packing)

    def annotate(self, images: Images, labels: Labels | None) -> Tensor:
        """Add what a condition shows of the labels; nothing here."""
        return images

    def with_noise(self, images: Images) -> Images:
        """Add the instance noise of this point of the run."""
        left = 1.0
        if self.instance_noise_images is not None:
            left = max(0.0, 1.0 - self.images_seen / self.instance_noise_images)
        return add_noise(images, self.instance_noise * left)

    def outputs(self, images: Images, labels: Labels | None) -> Tensor:
        """The discriminator's outputs (packs, outputs), the logit first."""
        shown = self.shown(images, labels)
        return self.discriminator(shown, labels.reshape(len(shown), -1) if labels is not None else None)

    def judge(self, images: Images, labels: Labels | None) -> Logits:
        """The discriminator's logits, one a pack."""
        return self.outputs(images, labels)[:, 0]

    # ---- the losses

    def generate(self, batch: Batch) -> Images:
        """Generate as many images as the batch holds."""
        return self.generator(self.latents_like(batch))

    def discriminator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """The objective's loss of telling real from generated."""
        real, fake = self.judge(batch.images, batch.labels), self.judge(fakes, batch.labels)
        total = self.losses.discriminator(real, fake)
        return Loss(total, {"discriminator": total, "real_logit": real.mean(), "fake_logit": fake.mean()})

    def generator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """The objective's loss of the generated images."""
        total = self.losses.generator(self.judge(fakes, batch.labels))
        return Loss(total, {"generator": total})

    def decode(self, latents: Latents) -> Images:
        """Generate an image from each latent."""
        with self.producing() as network:
            return network(latents)
