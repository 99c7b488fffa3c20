r"""Diffusion in discrete time: the loss and the times of models that are trained on a schedule of noise.

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e,    loss = E w_t |F(x_t, t, y) - target|^2,    t uniform on 0 ... T - 1

with a linear (Ho et al. 2020, https://arxiv.org/abs/2006.11239), cosine (Nichol and Dhariwal 2021,
https://arxiv.org/abs/2102.09672) or sigmoid schedule (Jabri et al. 2023, https://arxiv.org/abs/2212.11972), and the
noise, the image or v (Salimans and Ho 2022, https://arxiv.org/abs/2202.00512) as the prediction target.
"""

from dataclasses import replace
from typing import Any, ClassVar, get_args

import torch

from lightning_gen.checks import check_above
from lightning_gen.diffusion.preconditioning import PredictionPreconditioning
from lightning_gen.diffusion.prediction import Prediction, Weighting, loss_weight, prediction_target
from lightning_gen.diffusion.processes import DiscreteDiffusion, append_dims
from lightning_gen.diffusion.schedules import Schedule, make_betas
from lightning_gen.diffusion.times import Spacing, discrete_times
from lightning_gen.models.diffusion.denoising import DenoisingModule
from lightning_gen.types import Batch, ImageShape, Loss, SamplingOptions

DEFAULT_STEPS = 20


class DiscreteDiffusionModule(DenoisingModule):
    """Base class of diffusion models in discrete time, whose constructor builds the network.

    Args:
        image_shape: (channels, height, width).
        schedule: ``linear``, ``cosine`` or ``sigmoid``.
        num_times: number of times T, at least 2.
        prediction: prediction target of the network: ``noise``, ``image`` or ``v``.
        weighting: loss weight: ``simple`` is 1, ``snr`` the signal-to-noise ratio times the error of the image,
            ``min_snr`` the same with the ratio clamped to gamma.
        gamma: gamma of ``min_snr``, above 0.
        **kwargs: see the next base class.

    Raises:
        InputError: if a value is out of range.
    """

    spacings: ClassVar[tuple[str, ...]] = get_args(Spacing)
    process: DiscreteDiffusion
    default_sampling: SamplingOptions = SamplingOptions(
        "dpm_solver", steps=DEFAULT_STEPS, spacing="trailing", guidance=1.0, clip=True
    )

    def __init__(
        self,
        image_shape: ImageShape,
        schedule: Schedule = "linear",
        num_times: int = 1000,
        prediction: Prediction = "noise",
        weighting: Weighting = "simple",
        gamma: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_above(0, gamma=gamma)
        self.process = DiscreteDiffusion(make_betas(schedule, num_times))
        self.default_sampling = replace(self.default_sampling, steps=min(DEFAULT_STEPS, num_times))
        self.prediction: Prediction = prediction
        self.weighting: Weighting = weighting
        self.gamma = gamma
        self.set_network(self.make_network(PredictionPreconditioning(self.process, prediction)))
        self.save_hyperparameters()

    def loss(self, batch: Batch) -> Loss:
        """The weighted squared error of the prediction, a mean over pixels; ``error`` is not weighted."""
        clean = batch.images
        times = torch.randint(self.process.num_times, (len(clean),), device=clean.device).float()
        noise = torch.randn_like(clean)
        alpha, sigma = (append_dims(value).to(clean.dtype) for value in self.process.alpha_sigma(times))
        output = self.network.predict(alpha * clean + sigma * noise, times, self.training_condition(batch))
        target = prediction_target(self.prediction, clean, noise, alpha, sigma)
        error = (output - target).square().mean((1, 2, 3))
        weight = loss_weight(self.weighting, self.prediction, self.process.snr(times), self.gamma).to(error.dtype)
        return Loss((weight * error).mean(), {"error": error.mean()})

    def spaced_times(self, steps: int, spacing: Spacing) -> list[float]:
        """Times of the schedule, and -1, the image."""
        return discrete_times(self.process.num_times, steps, spacing)

    def all_timesteps(self) -> list[float]:
        """All times of the schedule, and -1."""
        return discrete_times(self.process.num_times, self.process.num_times)
