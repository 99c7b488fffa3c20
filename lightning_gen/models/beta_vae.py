"""The beta-VAE (Higgins et al. 2017, https://openreview.net/forum?id=Sy2fzU9gl), and its capacity schedule.

    loss = E_x[ -log p(x | z) ] + beta R                 Higgins et al.: a tighter channel, latents that vary alone
    loss = E_x[ -log p(x | z) ] + beta |E_x KL - C|      Burgess et al. 2018, https://arxiv.org/abs/1804.03599

In the second, C grows linearly from 0 to ``capacity`` nats: the channel opens little by little, and the latents take up
one factor of the data after the other, while the reconstructions stay sharp.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.models.elbo import ELBOModule
from lightning_gen.types import ImageShape


class BetaVAE(ELBOModule):
    """A VAE whose KL term has a weight or a target.

    Args:
        image_shape: (channels, height, width).
        beta: weight of the KL term (Burgess et al. call it gamma beside a capacity, and took 1000).
        capacity: nats that C grows to; no target when None.
        capacity_images: images over which it does.
        **kwargs: see :class:`ELBOModule`, :class:`VariationalModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        beta: float = 4.0,
        capacity: float | None = None,
        capacity_images: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        if beta < 0:
            raise InputError(f"model.beta is {beta}; it must not be negative")
        if capacity is None and capacity_images:
            raise InputError(f"model.capacity_images is {capacity_images} without model.capacity; name both or none")
        if capacity is not None and (capacity < 0 or capacity_images < 1):
            raise InputError(
                f"model.capacity is {capacity} nats over model.capacity_images {capacity_images}; "
                "they must be at least 0 and 1"
            )
        if capacity is not None and (self.free_bits or self.kl_schedule != "constant"):
            raise InputError("model.capacity takes the place of model.free_bits and model.kl_schedule; leave those out")
        self.beta, self.capacity, self.capacity_images = beta, capacity, capacity_images
        self.build()

    def regulariser(self, kl: Float[Tensor, "batch latent"]) -> Float[Tensor, ""]:
        """The weighted KL, or its weighted distance from the capacity at this point of the training."""
        if self.capacity is None:
            return self.beta * super().regulariser(kl)
        target = self.capacity * min(1.0, self.images_seen / self.capacity_images)
        return self.beta * (kl.sum(1).mean() - target).abs()
