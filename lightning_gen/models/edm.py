r"""Diffusion as EDM designs it (Karras et al. 2022, https://arxiv.org/abs/2206.00364), written from the paper.

    x = x_0 + sigma e,    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise),    log(sigma) ~ N(P_mean, P_std^2)

    loss = E |D(x_0 + sigma e; sigma) - x_0|^2 / c_out^2

which is the plain squared error of the network F. Images are drawn by Heun's method at levels that are denser where
there is little noise, with fresh noise on the way (``stochastic_heun``) or without.
"""

from typing import Any, ClassVar

import torch
from torch import nn

from lightning_gen.diffusion.preconditioning import check_levels, preconditioned, preconditioning
from lightning_gen.diffusion.processes import Times, VarianceExploding, over_images
from lightning_gen.diffusion.times import RHO, level_times
from lightning_gen.models.probability_flow import ProbabilityFlowModule
from lightning_gen.types import Batch, Classes, Images, ImageShape, Loss, Sampling


class EDM(ProbabilityFlowModule):
    """A diffusion model with continuous noise levels and unit variances everywhere.

    Args:
        image_shape: (channels, height, width).
        sigma_data: standard deviation of a pixel of the data, in units of [-1, 1]; about 0.5 of photographs.
        level_mean: P_mean, the mean of the training levels' logarithm.
        level_std: P_std, its standard deviation.
        sigma_min: the least level of drawing, above 0.
        sigma_max: the largest.
        **kwargs: see :class:`DenoiserModule`.

    Raises:
        InputError: when a number is out of its range.
    """

    samplers: ClassVar[tuple[str, ...]] = (
        "heun",
        "stochastic_heun",
        "euler",
        "ddim",
        "ancestral",
        "dpm_solver",
        "adaptive",
    )
    spacings: ClassVar[tuple[str, ...]] = tuple(RHO)
    usual: Sampling = Sampling("heun", steps=10, spacing="karras", guidance=1.0, clip=False)

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
        check_levels(sigma_data, level_std, sigma_min, sigma_max)
        self.process = VarianceExploding()
        self.sigma_data, self.level_mean, self.level_std = sigma_data, level_mean, level_std
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()

    def loss(self, batch: Batch) -> Loss:
        """The squared error of F, which is that of D over c_out^2, a mean over pixels."""
        clean = batch.images
        sigma = (self.level_mean + self.level_std * torch.randn(len(clean), device=clean.device)).exp()
        noisy = clean + over_images(sigma) * torch.randn_like(clean)
        denoised = self.denoise(self.network, noisy, sigma, self.classes_of_batch(batch))
        error = (denoised - clean).square().mean((1, 2, 3))
        weighted = (error / preconditioning(sigma, self.sigma_data).out.square()).mean()
        return Loss(weighted, {"error": error.mean()})

    def denoise(self, network: nn.Module, noisy: Images, times: Times, classes: Classes | None) -> Images:
        """D."""
        return preconditioned(network, preconditioning(times.float(), self.sigma_data), noisy, classes)

    def times(self, steps: int, spacing: str) -> list[float]:
        """Levels from the largest to the least, and 0."""
        return level_times(steps, self.sigma_min, self.sigma_max, RHO[spacing])
