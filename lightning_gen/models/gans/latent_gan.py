"""GANs whose generator and discriminator are built from one of the suite's general architectures.

In addition to the remedies of :mod:`lightning_gen.models.gans.base`, every such model supports

* ``discriminator_norm: spectral``, which bounds the Lipschitz constant of the discriminator (Miyato et al. 2018);
* ``minibatch``: minibatch discrimination (Salimans et al. 2016) or minibatch standard deviation (Karras et al. 2018).
"""

from typing import Any

from torch import nn

from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import Objective
from lightning_gen.models.gans.base import BaseLatentGAN
from lightning_gen.networks.discriminator import (
    Architecture,
    LinearHead,
    MinibatchLayer,
    Norm,
    make_discriminator,
    make_generator,
)
from lightning_gen.types import ImageShape

DEPENDENT_LOGITS = "which makes an image's logit, whose gradient is penalised, depend on the other images of its batch"


class LatentGAN(BaseLatentGAN[nn.Module]):
    """Base class of GANs with a choice of architecture.

    After ``super().__init__``, a model builds both players with :meth:`make_generator` and :meth:`make_discriminator`.

    Args:
        objective: losses of the discriminator and the generator; passed by the model.
        image_shape: (channels, height, width).
        network: architecture of generator and discriminator: ``mlp`` (any size), ``dcgan`` (square, 8 to 128 pixels) or
            ``resnet`` (square, 16, 32, 64 or 128 pixels).
        width: number of channels of a convolutional network next to the image.
        hidden: widths of an MLP's hidden layers, from the image to the latents.
        discriminator_norm: ``batch``, ``spectral`` or ``none``.
        minibatch: layer that compares the images of a batch: ``discrimination``, ``stddev`` or ``none``.
        **kwargs: see :class:`BaseLatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    class_planes: int = 0
    """Number of channels that :meth:`add_condition` adds to an image."""
    penalises_gradient: bool = False
    """Whether the gradient of an image's logit is penalised; minibatch discrimination and BatchNorm are refused."""

    def __init__(
        self,
        objective: Objective,
        image_shape: ImageShape,
        network: Architecture = "dcgan",
        width: int = 64,
        hidden: tuple[int, ...] = (256, 128),
        discriminator_norm: Norm = "batch",
        minibatch: MinibatchLayer = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(objective=objective, image_shape=image_shape, **kwargs)
        if self.penalises_gradient and minibatch == "discrimination":
            raise InputError(
                f"model.minibatch is discrimination, {DEPENDENT_LOGITS}; use none, or stddev as ProGAN does"
            )
        if self.penalises_gradient and discriminator_norm == "batch":
            raise InputError(f"model.discriminator_norm is batch, {DEPENDENT_LOGITS}; use none or spectral")
        self.architecture: Architecture = network
        self.width, self.hidden = width, hidden
        self.discriminator_norm, self.minibatch = discriminator_norm, minibatch

    def make_generator(self) -> nn.Module:
        """Build the generator, from latents (followed by the class, if conditional) to images in [-1, 1]."""
        latents = self.latent_dim + self.num_classes
        return make_generator(self.architecture, latents, self.image_shape, self.hidden, self.width)

    def make_discriminator(self) -> nn.Module:
        """Build the discriminator, from packed images and their condition to outputs, the logit first."""
        channels, height, width = self.image_shape
        shape = ((channels + self.class_planes) * self.packing, height, width)
        return make_discriminator(
            self.architecture, shape, self.hidden, self.width, self.discriminator_norm, self.minibatch, self.make_head
        )

    def make_head(self, features: int) -> nn.Module:
        """Build the last layer of the discriminator."""
        return LinearHead(features, 1)
