"""The GAN with auxiliary classifier (Odena et al. 2017, https://arxiv.org/abs/1610.09585)."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.checks import check_above
from lightning_gen.losses.adversarial import NON_SATURATING, Logits
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.models.latents import ConditionalLatentSampling, check_num_classes
from lightning_gen.networks.discriminator import LinearHead
from lightning_gen.types import Batch, Images, ImageShape, Labels, Loss


class ACGAN(ConditionalLatentSampling, LatentGAN):
    """The generator receives the class with the noise, and the discriminator also classifies real and generated images.

    L_D = cross entropy of real or generated + weight (CE(class of x) + CE(class of G(z, y)));
    L_G = non-saturating loss + weight CE(class of G(z, y)).

    Args:
        image_shape: (channels, height, width).
        num_classes: number of classes; the command line takes it from the data.
        class_weight: weight of the classes' cross entropy.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int, class_weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(objective=NON_SATURATING, image_shape=image_shape, **kwargs)
        check_above(0, class_weight=class_weight)
        self.num_classes = check_num_classes(type(self), num_classes)
        self.class_weight = class_weight
        self.set_network(self.make_generator())
        self.discriminator = self.make_discriminator()
        self.save_hyperparameters()

    def make_head(self, features: int) -> nn.Module:
        """A logit per pack and class scores per image."""
        return LinearHead(features, 1 + self.packing * self.num_classes)

    def logits_and_class_scores(
        self, images: Images, labels: Labels | None
    ) -> tuple[Logits, Float[Tensor, "batch classes"]]:
        """Logits, one per pack, and the class scores of each image."""
        outputs = self.discriminator_outputs(images, labels)
        return outputs[:, 0], outputs[:, 1:].reshape(len(images), self.num_classes)

    def discriminator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """Adversarial loss plus classification loss of real and generated images."""
        assert batch.labels is not None  # latents_for rejects a batch without labels
        real, real_classes = self.logits_and_class_scores(batch.images, batch.labels)
        fake, fake_classes = self.logits_and_class_scores(fakes, batch.labels)
        source = self.objective.discriminator_loss(real, fake)
        real_class, fake_class = (F.cross_entropy(classes, batch.labels) for classes in (real_classes, fake_classes))
        terms = self.discriminator_terms(source, real, fake) | {"real_class": real_class, "fake_class": fake_class}
        return Loss(source + self.class_weight * (real_class + fake_class), terms)

    def generator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """Adversarial loss plus classification loss of the requested classes."""
        assert batch.labels is not None
        fake, classes = self.logits_and_class_scores(fakes, batch.labels)
        source = self.objective.generator_loss(fake)
        total = source + self.class_weight * F.cross_entropy(classes, batch.labels)
        return Loss(total, {"generator": source})
