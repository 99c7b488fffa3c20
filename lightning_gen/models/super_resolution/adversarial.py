"""Super-resolution by a GAN (Ledig et al. 2017, https://arxiv.org/abs/1609.04802), equations 3 to 6.

    generator:  minimise w_c E |G(y) - x| + w_p L(G(y), x) + w_a L_adv

with the small version y of the image x, the perceptual loss L, and the adversarial loss L_adv. It has sharper images
and a lower PSNR than a network that is trained on pixels alone, whose weights training should start from.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import (
    NON_SATURATING,
    relativistic_average_discriminator_loss,
    relativistic_average_generator_loss,
)
from lightning_gen.losses.perceptual import feature_distance
from lightning_gen.models.adversarial import AdversarialModule
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.models.perceptual import Perceptual, PerceptualLoss
from lightning_gen.models.super_resolution.upscaling import SuperResolution
from lightning_gen.networks.discriminator import Norm
from lightning_gen.networks.sharpening import unsharp_mask
from lightning_gen.networks.upscaling_discriminators import DiscriminatorKind, make_upscaling_discriminator
from lightning_gen.types import Batch, Images, ImageShape, Loss


class SuperResolutionGAN(SuperResolution, PerceptualLoss, AdversarialModule[nn.Module]):
    """Base class of GANs for super-resolution.

    Args:
        image_shape: (channels, height, width) of the large images.
        input_shape: (channels, height, width) of the small images.
        relativistic: whether the discriminator compares each image with the average of the others (Jolicoeur-Martineau
            2018, https://arxiv.org/abs/1807.00734), over the images of its rank; otherwise the loss is the
            non-saturating one.
        content: mean absolute (``l1``) or squared (``mse``) error of the pixels in [-1, 1].
        content_weight: weight w_c. A paper's weight of the absolute error in [0, 1] is twice as large.
        perceptual: network of the perceptual loss, see :class:`PerceptualLoss`.
        perceptual_weight: weight w_p; 10 is customary for ``discriminator``.
        adversarial_weight: weight w_a.
        sharpen: whether pixels and features are compared with the sharpened image, as in Real-ESRGAN (Wang et al. 2021,
            https://arxiv.org/abs/2107.10833, section 3.3); the discriminator always sees the image itself.
        discriminator: ``vgg``, one logit per image, or ``unet``, one per pixel.
        discriminator_width: number of channels of the discriminator next to the image.
        discriminator_norm: ``batch``, ``spectral`` or ``none``; None: ``batch`` for ``vgg``, ``spectral`` for ``unet``.
        init_from: checkpoint (or run) of a model for super-resolution with the same network, such as an
            :class:`SRResNet`: training starts from its weights, or their moving average. None: random weights. A
            resumed run does not read it.
        generator_lr: learning rate of the generator's Adam.
        discriminator_lr: learning rate of the discriminator's Adam.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        **kwargs: see :class:`SuperResolution`, :class:`PerceptualLoss`, :class:`AdversarialModule` and
            :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        input_shape: ImageShape,
        relativistic: bool,
        content: Literal["l1", "mse"] = "l1",
        content_weight: float = 1e-2,
        perceptual: Perceptual = "vgg19",
        perceptual_weight: float = 1.0,
        adversarial_weight: float = 5e-3,
        sharpen: bool = False,
        discriminator: DiscriminatorKind = "vgg",
        discriminator_width: int = 64,
        discriminator_norm: Norm | None = None,
        init_from: str | None = None,
        generator_lr: float = 1e-4,
        discriminator_lr: float = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, input_shape=input_shape, perceptual=perceptual, **kwargs)
        check_at_least(
            0,
            content_weight=content_weight,
            perceptual_weight=perceptual_weight,
            adversarial_weight=adversarial_weight,
        )
        check_at_least(1, discriminator_width=discriminator_width)
        self.relativistic = relativistic
        self.pixel_loss = F.l1_loss if content == "l1" else F.mse_loss
        self.content_weight, self.perceptual_weight = content_weight, perceptual_weight
        self.adversarial_weight, self.sharpen = adversarial_weight, sharpen
        self.init_from = init_from
        self.generator_lr, self.discriminator_lr, self.betas = generator_lr, discriminator_lr, (beta1, beta2)
        # a bias cancels in the difference of logits
        self.discriminator = make_upscaling_discriminator(
            discriminator, self.image_shape, discriminator_width, discriminator_norm, bias=not relativistic
        )

    # ---- the players

    def discriminators(self) -> list[nn.Module]:
        """The discriminator."""
        return [self.discriminator]

    def on_fit_start(self) -> None:
        """Load the feature network and, for a new run, the initial weights.

        Raises:
            InputError: if the checkpoint is not of a model with the same network.
        """
        super().on_fit_start()
        if self.init_from is None or self.images_seen:
            return
        path = find_checkpoint(Path(self.init_from))
        start = load_model(path)
        if not isinstance(start, SuperResolution):
            raise InputError(f"model.init_from is {path}, of {type(start).__name__}; it must be of super-resolution")
        if start.architecture != self.architecture:
            raise InputError(f"model.init_from is {path}, of {start.architecture}; the model is {self.architecture}")
        with start.inference_network() as network:
            for own in [self.network] if self.ema is None else [self.network, self.ema.module]:
                own.load_state_dict(network.state_dict())

    # ---- losses

    def generate(self, batch: Batch) -> Images:
        """Enlarge the inputs of the batch."""
        return self.network(self.inputs_of(batch))

    def discriminator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """The adversarial loss of the discriminator."""
        real, fake = (self.discriminator(images)[-1].flatten() for images in (batch.images, fakes))
        loss = relativistic_average_discriminator_loss if self.relativistic else NON_SATURATING.discriminator_loss
        total = loss(real, fake)
        return Loss(total, {"discriminator": total, "real_logit": real.mean(), "fake_logit": fake.mean()})

    def generator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """The weighted sum of content, perceptual and adversarial loss; the terms have no weights."""
        maps, real_maps = self.discriminator(fakes), self.real_maps(batch)
        fake = maps[-1].flatten()
        if self.relativistic:
            adversarial = relativistic_average_generator_loss(real_maps[-1].flatten(), fake)
        else:
            adversarial = NON_SATURATING.generator_loss(fake)
        target = unsharp_mask(batch.images) if self.sharpen else batch.images
        content = self.pixel_loss(fakes, target)
        total = self.content_weight * content + self.adversarial_weight * adversarial
        terms = {"generator": adversarial, "content": content}
        if self.perceptual != "none":
            if self.perceptual == "discriminator":
                hidden = len(maps) - 1
                distance = feature_distance(maps[:hidden], real_maps[:hidden], [1 / hidden] * hidden)
            else:
                distance = self.perceptual_distance(fakes, target)
            total = total + self.perceptual_weight * distance
            terms["perceptual"] = distance
        return Loss(total, terms)

    @torch.no_grad()
    def real_maps(self, batch: Batch) -> list[Tensor]:
        """The discriminator's maps of the real images, without gradients; empty if the generator does not need them."""
        needed = self.relativistic or self.perceptual == "discriminator"
        return self.discriminator(batch.images) if needed else []
