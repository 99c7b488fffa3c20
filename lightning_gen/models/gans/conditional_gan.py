"""The conditional GAN (Mirza and Osindero 2014, https://arxiv.org/abs/1411.1784)."""

from typing import Any

from torch import Tensor

from lightning_gen.losses.adversarial import NON_SATURATING
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.models.latents import ConditionalLatentSampling, check_num_classes
from lightning_gen.networks.discriminator_inputs import label_planes
from lightning_gen.types import Images, ImageShape, Labels


class ConditionalGAN(ConditionalLatentSampling, LatentGAN):
    """The class is concatenated: a one-hot vector with the generator's noise, one plane per class with the image.

    The discriminator receives generated images with the class that was requested.

    Args:
        image_shape: (channels, height, width).
        num_classes: number of classes; the command line takes it from the data.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int, **kwargs: Any) -> None:
        super().__init__(objective=NON_SATURATING, image_shape=image_shape, **kwargs)
        self.num_classes = self.class_planes = check_num_classes(type(self), num_classes)
        self.set_network(self.make_generator())
        self.discriminator = self.make_discriminator()
        self.save_hyperparameters()

    def add_condition(self, images: Images, labels: Labels | None) -> Tensor:
        """Add one plane per class to the image."""
        assert labels is not None  # latents_for rejects a batch without labels
        return label_planes(images, labels, self.num_classes)
