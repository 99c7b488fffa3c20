"""What GANs that translate images share: discriminators of patches, and their losses."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import NON_SATURATING, Logits, least_squares
from lightning_gen.models.adversarial import AdversarialModule
from lightning_gen.models.translator import ImageTranslation
from lightning_gen.networks.initialization import Initialization
from lightning_gen.networks.patch import PatchDiscriminator, PatchNorm
from lightning_gen.types import ImageShape, Loss

GanLoss = Literal["non_saturating", "least_squares"]
OBJECTIVES = {"non_saturating": (NON_SATURATING, 1.0), "least_squares": (least_squares(0, 1, 1), 2.0)}
"""The objective of each loss, and its factor: Pix2Pix and CycleGAN use (D - 1)^2 without the 1/2 of Mao et al."""


class TranslationGAN(ImageTranslation, AdversarialModule[nn.Module]):
    r"""Base class of GANs from images to images of the same size.

    The discriminators return a logit l for each patch; E is the mean over images and patches. Losses of a generator
    and, halved so that it learns more slowly, of a discriminator:

    ================== ============================= ============================================================
    ``loss``           generator                     discriminator
    ================== ============================= ============================================================
    ``least_squares``  E[(l(G(x)) - 1)^2]            (E[(l(y) - 1)^2] + E[l(G(x))^2]) / 2
    ``non_saturating`` E[softplus(-l(G(x)))]         (E[softplus(-l(y))] + E[softplus(l(G(x)))]) / 2
    ================== ============================= ============================================================

    Args:
        image_shape: (channels, height, width) of the images that it makes.
        input_shape: (channels, height, width) of the inputs.
        loss: ``non_saturating`` or ``least_squares``; passed by the model.
        discriminator_width: number of channels after a discriminator's first convolution; the papers' is 64.
        patch_layers: number of a discriminator's stride-2 convolutions, which sets the side of a patch: 16, 34, 70 or
            142 pixels for 1, 2, 3 or 4, and 1 pixel for 0; None: 1 below 32 pixels, 2 from 32 and 3 from 64.
        discriminator_norm: ``none``, ``instance``, ``batch`` or ``spectral``.
        generator_lr: learning rate of the generators.
        discriminator_lr: learning rate of the discriminators.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        **kwargs: see :class:`AdversarialModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if the inputs differ from the images in height and width.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        input_shape: ImageShape,
        loss: GanLoss,
        discriminator_width: int = 64,
        patch_layers: int | None = None,
        discriminator_norm: PatchNorm = "instance",
        generator_lr: float = 2e-4,
        discriminator_lr: float = 2e-4,
        beta1: float = 0.5,
        beta2: float = 0.999,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, input_shape=input_shape, **kwargs)
        if self.scale != 1:
            raise InputError(
                f"the images are {self.scale} times as large as the inputs, and {type(self).__name__} makes images of "
                "the inputs' size; use a model for super-resolution"
            )
        check_at_least(1, discriminator_width=discriminator_width)
        self.objective, self.loss_factor = OBJECTIVES[loss]
        self.discriminator_width, self.patch_layers = discriminator_width, patch_layers
        self.discriminator_norm: PatchNorm = discriminator_norm
        self.generator_lr, self.discriminator_lr, self.betas = generator_lr, discriminator_lr, (beta1, beta2)

    def make_discriminator(
        self, channels: int, antialias: bool = False, initialization: Initialization = "normal"
    ) -> PatchDiscriminator:
        """Build a discriminator of images with a number of channels, see :class:`PatchDiscriminator`."""
        return PatchDiscriminator(
            (channels, *self.image_shape[1:]),
            self.discriminator_width,
            self.patch_layers,
            self.discriminator_norm,
            antialias,
            initialization,
        )

    def adversarial_discriminator_loss(self, real: Logits, fake: Logits) -> Loss:
        """The halved loss of one discriminator, with the mean logits."""
        total = self.loss_factor * self.objective.discriminator_loss(real, fake) / 2
        return Loss(total, {"discriminator": total, "real_logit": real.mean(), "fake_logit": fake.mean()})

    def adversarial_generator_loss(self, fake: Logits) -> Float[Tensor, ""]:
        """The loss of one generator against one discriminator."""
        return self.loss_factor * self.objective.generator_loss(fake)


def patch_logits(discriminator: nn.Module, *images: Tensor) -> Logits:
    """The logits of all patches of all images in float32, flattened.

    Args:
        discriminator: maps images to a map of logits.
        *images: parts of its input, which are concatenated in the channels.

    Returns:
        The logits.
    """
    logits: Tensor = discriminator(torch.cat(images, 1) if len(images) > 1 else images[0])
    return logits.float().flatten()


def absolute_error(images: Tensor, targets: Tensor) -> Float[Tensor, ""]:
    """The mean absolute error (L1 loss) in float32."""
    return F.l1_loss(images.float(), targets.float())
