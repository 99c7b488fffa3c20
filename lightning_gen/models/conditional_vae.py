"""The conditional VAE (Sohn et al. 2015, "Learning structured output representation using deep conditional models")."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.errors import InputError
from lightning_gen.models.elbo import ELBOModule
from lightning_gen.models.latents import ClassLatents, classes_of
from lightning_gen.networks.views import label_planes
from lightning_gen.types import Images, ImageShape, Labels


class ConditionalVAE(ClassLatents, ELBOModule):
    """log p(x | y) >= E_q(z|x,y)[log p(x | z, y)] - KL(q(z | x, y) || N(0, I)), with y the class.

    The encoder sees the class as planes on the image, the decoder as a one-hot vector behind the latents. ``encode``,
    ``reconstruct`` and ``log_weights`` need the classes of their images.

    Args:
        image_shape: (channels, height, width).
        num_classes: classes of the data; the command line takes it from there.
        **kwargs: see :class:`ELBOModule`, :class:`VariationalModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int, **kwargs: Any) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        self.num_classes = classes_of(type(self), num_classes)
        self.build(self.num_classes)

    def seen(self, images: Images, labels: Labels | None) -> Float[Tensor, "batch seen height width"]:
        """The images with a plane a class."""
        return label_planes(images, self.known(labels), self.num_classes)

    def placed(
        self, latents: Float[Tensor, "num batch latent"], labels: Labels | None
    ) -> Float[Tensor, "num batch placed"]:
        """The latents with the class as a one-hot vector behind them."""
        classes = nn.functional.one_hot(self.known(labels), self.num_classes).to(latents)
        return torch.cat([latents, classes.expand(len(latents), -1, -1)], 2)

    def known(self, labels: Labels | None) -> Labels:
        """Refuse to go on without classes.

        Args:
            labels: classes, or None.

        Returns:
            The classes.

        Raises:
            InputError: when there are none.
        """
        if labels is None:
            raise InputError(f"{type(self).__name__} needs the classes of the images that it encodes")
        return labels
