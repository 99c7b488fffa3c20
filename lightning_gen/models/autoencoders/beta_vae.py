"""The beta-VAE (Higgins et al. 2017, https://openreview.net/forum?id=Sy2fzU9gl), and its capacity schedule.

    loss = E_x[ -log p(x | z) ] + beta R                 Higgins et al.: stronger regularisation, disentangled latents
    loss = E_x[ -log p(x | z) ] + beta |E_x KL - C|      Burgess et al. 2018, https://arxiv.org/abs/1804.03599

In the second, C grows linearly from 0 to ``capacity`` nats: the information in the latents is increased gradually, so
that they encode one factor of variation after another while the reconstructions stay sharp.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.models.autoencoders.variational import ELBOModule
from lightning_gen.types import ImageShape


class BetaVAE(ELBOModule):
    """A VAE whose KL term has a weight or a target.

    Args:
        image_shape: (channels, height, width).
        beta: weight of the KL term (with a capacity, Burgess et al. call it gamma and use 1000).
        capacity: final value of the target C in nats; None for no target.
        capacity_images: number of images over which C grows.
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
        check_at_least(0, beta=beta)
        if capacity is None and capacity_images:
            raise InputError(f"model.capacity_images is {capacity_images} without model.capacity; set both or neither")
        if capacity is not None and (capacity < 0 or capacity_images < 1):
            raise InputError(
                f"model.capacity is {capacity} nats over model.capacity_images {capacity_images}; "
                "they must be at least 0 and 1"
            )
        if capacity is not None and (self.free_bits or self.kl_schedule != "constant"):
            raise InputError("model.capacity replaces model.free_bits and model.kl_schedule; leave those out")
        self.beta, self.capacity, self.capacity_images = beta, capacity, capacity_images
        self.set_network(self.make_network())
        self.save_hyperparameters()

    def regulariser(self, kl: Float[Tensor, "batch latent"]) -> Float[Tensor, ""]:
        """Beta R, or beta |E_x KL - C| with the current value of C."""
        if self.capacity is None:
            return self.beta * super().regulariser(kl)
        target = self.capacity * min(1.0, self.images_seen / self.capacity_images)
        return self.beta * (kl.sum(1).mean() - target).abs()
