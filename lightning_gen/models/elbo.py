r"""Training on the evidence lower bound, with the weight of its KL term scheduled.

    loss = E_x[ -log p(x | z) + a R ],    R = sum_j max(lambda, E_x KL_j)

a rises from 0 to 1: linearly once, or again and again (Fu et al. 2019, https://arxiv.org/abs/1903.10145), against
latents that the decoder learns to ignore; free bits lambda (Kingma et al. 2016, https://arxiv.org/abs/1606.04934,
equation 15) let every dimension carry so much information without a price. Without them the loss is the negative ELBO.
"""

from abc import abstractmethod
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.models.variational import VariationalModule
from lightning_gen.types import Batch, ImageShape, Loss

KLSchedule = Literal["constant", "linear", "cyclical"]
RISING = 0.5
"""The share of a cycle in which the weight rises; in the rest it is 1 (Fu et al. 2019, R = 0.5)."""


class ELBOModule(VariationalModule):
    """A variational model that is trained on its ELBO.

    Args:
        image_shape: (channels, height, width).
        kl_schedule: weight of the KL term: ``constant`` 1; ``linear`` from 0 to 1 over the first ``kl_images`` images;
            ``cyclical``: in every ``kl_images`` images, linear from 0 to 1 in the first half and 1 in the second.
        kl_images: length of the schedule.
        free_bits: lambda, nats of each latent dimension (as a mean over the batch) that cost nothing.
        **kwargs: see :class:`VariationalModule`.
    """

    @abstractmethod  # a model saves its own hyper-parameters and builds itself
    def __init__(
        self,
        image_shape: ImageShape,
        kl_schedule: KLSchedule = "constant",
        kl_images: int = 0,
        free_bits: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        if (kl_images > 0) != (kl_schedule != "constant"):
            raise InputError(
                f"model.kl_schedule is {kl_schedule} and model.kl_images {kl_images}: "
                "a linear or cyclical schedule has a length in images, a constant one has none"
            )
        if free_bits < 0:
            raise InputError(f"model.free_bits is {free_bits}; it must not be negative")
        self.kl_schedule, self.kl_images, self.free_bits = kl_schedule, kl_images, free_bits

    def kl_weight(self) -> float:
        """The schedule's weight a at this point of the training, in [0, 1]."""
        if self.kl_schedule == "linear":
            return min(1.0, self.images_seen / self.kl_images)
        if self.kl_schedule == "cyclical":
            return min(1.0, self.images_seen % self.kl_images / (RISING * self.kl_images))
        return 1.0

    def regulariser(self, kl: Float[Tensor, "batch latent"]) -> Float[Tensor, ""]:
        """R, what the schedule weighs.

        Args:
            kl: KL divergence of each latent dimension of each image.

        Returns:
            Nats for an image.
        """
        return kl.mean(0).clamp(min=self.free_bits).sum()

    def loss(self, batch: Batch) -> Loss:
        """The loss, and the parts of the plain ELBO: means over images of nats for each image."""
        bound = self.bound(batch)
        log_likelihood, kl = bound.log_likelihood.mean(), bound.kl.sum(1).mean()
        terms = {"reconstruction": -log_likelihood, "kl": kl, "elbo": log_likelihood - kl}
        return Loss(self.kl_weight() * self.regulariser(bound.kl) - log_likelihood, terms)
