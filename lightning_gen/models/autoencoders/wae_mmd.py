"""The Wasserstein autoencoder with an MMD penalty (Tolstikhin et al. 2018, https://arxiv.org/abs/1711.01558).

The aggregate distribution of the latents, and not that of each image, is matched to the prior, so that the encoder can
be deterministic:

    minimise E |x - decoder(encoder(x))|^2 + lambda MMD^2(Q, P),    Q the distribution of latents, P = N(0, I)

which bounds the optimal transport cost between the data and the decoded prior (the paper's theorem 1).
"""

from functools import partial
from typing import Any

from torch.nn import functional as F

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.losses.mmd import inverse_multiquadratic, mmd
from lightning_gen.models.autoencoders.deterministic import DeterministicDescentModule
from lightning_gen.models.latents import LatentSampling
from lightning_gen.types import Batch, ImageShape, Loss


# the mixin declares device as an attribute, and Lightning has it as a property
class WAEMMD(DeterministicDescentModule, LatentSampling):  # type: ignore[override]
    """Deterministic latents, the squared error of an image, and the MMD between a batch of latents and the prior.

    The kernel is the inverse multiquadratic sum_s C_s / (C_s + |x - y|^2), C_s = 2 s latent_dim: with s = 1 alone it is
    the kernel of the paper's section 4, with several scales that of its published code.

    Args:
        image_shape: (channels, height, width).
        mmd_weight: lambda, relative to the squared error summed over the pixels of an image in [0, 1].
        scales: the kernel's scales s.
        **kwargs: see :class:`DeterministicDescentModule`, :class:`DeterministicModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        mmd_weight: float = 10.0,
        scales: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_at_least(0, mmd_weight=mmd_weight)
        if not scales or min(scales) <= 0:
            raise InputError(f"model.scales is {list(scales)}; it must hold at least one scale, all above 0")
        self.mmd_weight = mmd_weight
        self.kernel = partial(inverse_multiquadratic, constants=[2 * self.latent_dim * scale for scale in scales])
        self.save_hyperparameters()

    def loss(self, batch: Batch) -> Loss:
        """Squared error summed over the pixels of an image in [0, 1], and the unbiased MMD^2 of a batch of latents."""
        latents = self.network.encode(batch.images)
        # the factor 4 converts from [-1, 1] to [0, 1]
        error = F.mse_loss(self.network.decode(latents), batch.images, reduction="sum") / (4 * len(batch.images))
        # the unbiased estimate needs two images, and the last held-out batch may have one
        discrepancy = mmd(latents, self.latents_for(batch), self.kernel, unbiased=len(latents) > 1)
        return Loss(error + self.mmd_weight * discrepancy, {"reconstruction": error, "mmd": discrepancy})
