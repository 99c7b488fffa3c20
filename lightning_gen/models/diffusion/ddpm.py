r"""Denoising diffusion probabilistic models (Ho et al. 2020, https://arxiv.org/abs/2006.11239).

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e,    loss = E w_t |F(x_t, t) - target|^2,    t uniform on 0 ... T - 1

with a linear, cosine (Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672) or sigmoid schedule (Jabri et al.
2023, https://arxiv.org/abs/2212.11972), and the noise, the image or v (Salimans and Ho 2022,
https://arxiv.org/abs/2202.00512) as the prediction target.
"""

from dataclasses import replace
from typing import Any, ClassVar, get_args

import torch
from jaxtyping import Float64
from torch import Tensor

from lightning_gen.checks import check_above
from lightning_gen.diffusion.guidance import clipped
from lightning_gen.diffusion.likelihood import variational_bound
from lightning_gen.diffusion.preconditioning import PredictionPreconditioning
from lightning_gen.diffusion.prediction import Prediction, Weighting, loss_weight, prediction_target
from lightning_gen.diffusion.processes import DiscreteDiffusion, append_dims
from lightning_gen.diffusion.schedules import Schedule, make_betas
from lightning_gen.diffusion.times import Spacing, discrete_times
from lightning_gen.models.diffusion.probability_flow import ProbabilityFlowModule
from lightning_gen.noise import randn, uniform
from lightning_gen.types import Batch, Images, ImageShape, Labels, Loss, RandomSource, SamplingOptions

DEFAULT_STEPS = 20


class DDPM(ProbabilityFlowModule):
    """A diffusion model in discrete time.

    Args:
        image_shape: (channels, height, width).
        schedule: ``linear``, ``cosine`` or ``sigmoid``.
        num_times: number of times T, at least 2.
        prediction: prediction target of the network: ``noise``, ``image`` or ``v``.
        weighting: loss weight: ``simple`` is 1, ``snr`` the signal-to-noise ratio times the error of the image,
            ``min_snr`` the same with the ratio clamped to gamma.
        gamma: gamma of ``min_snr``, above 0.
        **kwargs: see :class:`DenoisingModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if a value is out of range.
    """

    spacings: ClassVar[tuple[str, ...]] = get_args(Spacing)
    process: DiscreteDiffusion
    density: ClassVar[bool] = False
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
        self.default_sampling = replace(DDPM.default_sampling, steps=min(DEFAULT_STEPS, num_times))
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
        output = self.network.predict(alpha * clean + sigma * noise, times, self.training_classes(batch))
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

    def describe_log_prob(self, num: int | None) -> str:
        """Number of times in the sum of the bound."""
        total = self.process.num_times
        return f"bound over {'all' if num is None else f'{num:,} of'} {total:,} times"

    def log_prob(
        self, images: Images, num: int | None = None, *, labels: Labels | None = None, generator: RandomSource = None
    ) -> Float64[Tensor, " batch"]:
        """The variational bound with the posterior's variances and D clipped to [-1, 1], as in sampling.

        Args:
            images: levels in [-1, 1].
            num: number of times sampled per image; None for all times.
            labels: the class of each image, for a conditional model.
            generator: source of the noise and the times; with several generators, those of image i come from the i-th.

        Returns:
            Nats per image: an unbiased estimate of a lower bound of log P, conditional on the class for a conditional
            model.

        Raises:
            InputError: if a conditional model gets no valid labels.
        """
        shape = len(images), *self.image_shape
        with self.inference_denoiser(labels, len(images)) as denoise:
            offsets = uniform(len(images), num or self.process.num_times - 1, generator=generator, device=images.device)
            return variational_bound(
                self.process,
                clipped(denoise),
                images,
                offsets,
                lambda: randn(*shape, generator=generator, device=images.device),
            )
