r"""EDM (Karras et al. 2022, https://arxiv.org/abs/2206.00364), written from the paper.

    x = x_0 + sigma e,    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise),    log(sigma) ~ N(P_mean, P_std^2)

    loss = E |D(x_0 + sigma e; sigma) - x_0|^2 / c_out^2

which is the squared error of the network F. Images are sampled by Heun's method at noise levels that are denser where
there is little noise, with fresh noise in each step (``stochastic_heun``) or without.
"""

from typing import Any, ClassVar

import torch

from lightning_gen.diffusion.preconditioning import EDMPreconditioning, check_noise_levels
from lightning_gen.diffusion.processes import VarianceExploding, append_dims
from lightning_gen.diffusion.times import RHO, level_times
from lightning_gen.models.diffusion.probability_flow import ProbabilityFlowModule
from lightning_gen.types import Batch, ImageShape, Loss, SamplingOptions


class EDM(ProbabilityFlowModule):
    """A diffusion model with continuous noise levels and unit variance of network inputs and targets.

    Args:
        image_shape: (channels, height, width).
        sigma_data: standard deviation of a pixel of the data, in units of [-1, 1]; about 0.5 for photographs.
        level_mean: P_mean, mean of the logarithm of the training levels.
        level_std: P_std, standard deviation of the logarithm.
        sigma_min: lowest sampling level, above 0.
        sigma_max: highest sampling level.
        **kwargs: see :class:`DenoisingGenerator`, :class:`DenoisingModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if a value is out of range.
    """

    spacings: ClassVar[tuple[str, ...]] = tuple(RHO)
    default_sampling: SamplingOptions = SamplingOptions("heun", steps=10, spacing="karras", guidance=1.0, clip=False)

    def __init__(
        self,
        image_shape: ImageShape,
        sigma_data: float = 0.5,
        level_mean: float = -1.2,
        level_std: float = 1.2,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_noise_levels(sigma_data, level_std, sigma_min, sigma_max)
        self.process = VarianceExploding()
        self.preconditioning = EDMPreconditioning(sigma_data)
        self.level_mean, self.level_std = level_mean, level_std
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.set_network(self.make_network(self.preconditioning))
        self.save_hyperparameters()

    def loss(self, batch: Batch) -> Loss:
        """The squared error of D over c_out^2, a mean over pixels; ``error`` is not divided by c_out^2."""
        clean = batch.images
        sigma = (self.level_mean + self.level_std * torch.randn(len(clean), device=clean.device)).exp()
        noisy = clean + append_dims(sigma) * torch.randn_like(clean)
        denoised = self.network(noisy, sigma, self.training_classes(batch))
        error = (denoised - clean).square().mean((1, 2, 3))
        weighted = (error / self.preconditioning.coefficients(sigma).out.square()).mean()
        return Loss(weighted, {"error": error.mean()})

    def spaced_times(self, steps: int, spacing: str) -> list[float]:
        """Noise levels from the highest to the lowest, and 0."""
        return level_times(steps, self.sigma_min, self.sigma_max, RHO[spacing])
