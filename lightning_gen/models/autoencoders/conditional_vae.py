"""The conditional VAE (Sohn et al. 2015, "Learning structured output representation using deep conditional models")."""

from typing import Any

from lightning_gen.models.autoencoders.variational import ELBOModule
from lightning_gen.models.latents import ConditionalLatentSampling, check_num_classes
from lightning_gen.types import ImageShape


class ConditionalVAE(ConditionalLatentSampling, ELBOModule):
    """log p(x | y) >= E_q(z|x,y)[log p(x | z, y)] - KL(q(z | x, y) || N(0, I)), with y the class.

    The encoder receives the class as planes beside the image's channels, the decoder as a one-hot vector behind the
    latents. ``encode``, ``reconstruct`` and ``log_weights`` require the labels of the images.

    Args:
        image_shape: (channels, height, width).
        num_classes: number of classes; the command line takes it from the data.
        **kwargs: see :class:`ELBOModule`, :class:`VariationalModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int, **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.num_classes = check_num_classes(type(self), num_classes)
        self.set_network(self.make_network())
        self.save_hyperparameters()
