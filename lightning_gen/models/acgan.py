"""The GAN with auxiliary classifier (Odena et al. 2017, https://arxiv.org/abs/1610.09585)."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import NON_SATURATING, Logits
from lightning_gen.models.latent_gan import LatentGAN
from lightning_gen.models.latents import ClassLatents, classes_of
from lightning_gen.networks.discriminator import LinearHead
from lightning_gen.types import Batch, Images, ImageShape, Labels, Loss


class ACGAN(ClassLatents, LatentGAN):
    """The generator takes the class beside the noise, and the discriminator also guesses it, of real and fake images.

    L_D = cross entropy of real or generated + weight (CE(class of x) + CE(class of G(z, y)));
    L_G = non-saturating loss + weight CE(class of G(z, y)).

    Args:
        image_shape: (channels, height, width).
        num_classes: classes of the data; the command line takes it from there.
        class_weight: weight of the classes' cross entropy.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    objective = NON_SATURATING

    def __init__(self, image_shape: ImageShape, num_classes: int, class_weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        if class_weight <= 0:
            raise InputError(f"model.class_weight is {class_weight}; it must be above 0")
        self.save_hyperparameters()
        self.num_classes = classes_of(type(self), num_classes)
        self.class_weight = class_weight
        self.build()

    def make_head(self, features: int) -> nn.Module:
        """A logit for the pack and class scores for each image in it."""
        return LinearHead(features, 1 + self.packing * self.num_classes)

    def judge_and_classify(
        self, images: Images, labels: Labels | None
    ) -> tuple[Logits, Float[Tensor, "batch classes"]]:
        """The logits, one a pack, and the class scores of each image."""
        outputs = self.outputs(images, labels)
        return outputs[:, 0], outputs[:, 1:].reshape(len(images), self.num_classes)

    def discriminator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """Real or generated, and which class."""
        assert batch.labels is not None  # latents_like has refused a batch without
        real, real_classes = self.judge_and_classify(batch.images, batch.labels)
        fake, fake_classes = self.judge_and_classify(fakes, batch.labels)
        source = self.losses.discriminator(real, fake)
        real_class, fake_class = (F.cross_entropy(classes, batch.labels) for classes in (real_classes, fake_classes))
        terms = {"discriminator": source, "real_logit": real.mean(), "fake_logit": fake.mean()}
        terms |= {"real_class": real_class, "fake_class": fake_class}
        return Loss(source + self.class_weight * (real_class + fake_class), terms)

    def generator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """To be taken for real, and for the asked class."""
        assert batch.labels is not None
        fake, classes = self.judge_and_classify(fakes, batch.labels)
        source = self.losses.generator(fake)
        total = source + self.class_weight * F.cross_entropy(classes, batch.labels)
        return Loss(total, {"generator": source})
