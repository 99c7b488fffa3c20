"""The Wasserstein autoencoder with an MMD penalty (Tolstikhin et al. 2018, https://arxiv.org/abs/1711.01558).

The codes of all images together, and not those of each, are drawn to the prior, so that a code can be deterministic:

    minimise E |x - decoder(encoder(x))|^2 + lambda MMD^2(Q, P),    Q the codes' distribution, P = N(0, I)

which bounds the optimal transport cost between the data and the decoded prior (the paper's theorem 1).
"""

from functools import partial
from typing import Any

from torch.nn import functional as F

from lightning_gen.errors import InputError
from lightning_gen.losses.mmd import inverse_multiquadratic, mmd
from lightning_gen.models.coding import CodingDescentModule
from lightning_gen.models.latents import GaussianLatents
from lightning_gen.types import Batch, ImageShape, Loss


# the prior's part names attributes that it expects, and a module has them as properties
class WAEMMD(CodingDescentModule, GaussianLatents):  # type: ignore[override]
    """Deterministic codes, the squared error of an image, and the discrepancy between a batch's codes and the prior.

    The kernel is the inverse multiquadratic sum_s C_s / (C_s + |x - y|^2), C_s = 2 s latent_dim: with one scale s = 1
    that of the paper's section 4, with several the sum that its published code takes.

    Args:
        image_shape: (channels, height, width).
        mmd_weight: lambda, against a squared error that is summed over the pixels of an image in [0, 1].
        scales: the kernel's scales s.
        **kwargs: see :class:`CodingDescentModule`, :class:`CodingModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        mmd_weight: float = 10.0,
        scales: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        if mmd_weight < 0:
            raise InputError(f"model.mmd_weight is {mmd_weight}; it must not be negative")
        if not scales or min(scales) <= 0:
            raise InputError(f"model.scales is {list(scales)}; it must hold at least one scale, all above 0")
        self.mmd_weight = mmd_weight
        self.kernel = partial(inverse_multiquadratic, constants=[2 * self.latent_dim * scale for scale in scales])

    def loss(self, batch: Batch) -> Loss:
        """Squared error summed over the pixels of an image in [0, 1], and the unbiased MMD^2 of a batch of codes."""
        codes = self.networks["encoder"](batch.images)
        # [-1, 1] is twice as wide as the [0, 1] that the error is measured in
        error = F.mse_loss(self.networks["decoder"](codes), batch.images, reduction="sum") / (4 * len(batch.images))
        # one image makes no pairs, and held-out images may come alone
        discrepancy = mmd(codes, self.latents_like(batch), self.kernel, unbiased=len(codes) > 1)
        return Loss(error + self.mmd_weight * discrepancy, {"reconstruction": error, "mmd": discrepancy})
