"""The conditional GAN (Mirza and Osindero 2014, https://arxiv.org/abs/1411.1784)."""

from typing import Any

from torch import Tensor

from lightning_gen.losses.adversarial import NON_SATURATING
from lightning_gen.models.latent_gan import LatentGAN
from lightning_gen.models.latents import ClassLatents, classes_of
from lightning_gen.networks.views import label_planes
from lightning_gen.types import Images, ImageShape, Labels


class ConditionalGAN(ClassLatents, LatentGAN):
    """Both players see the class by concatenation: a one-hot vector beside the noise, a plane a class on the image.

    Generated images are judged with the class that they were asked for.

    Args:
        image_shape: (channels, height, width).
        num_classes: classes of the data; the command line takes it from there.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    objective = NON_SATURATING

    def __init__(self, image_shape: ImageShape, num_classes: int, **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        self.num_classes = self.planes = classes_of(type(self), num_classes)
        self.build()

    def annotate(self, images: Images, labels: Labels | None) -> Tensor:
        """Lay the class on the image."""
        assert labels is not None  # latents_like has refused a batch without
        return label_planes(images, labels, self.num_classes)
