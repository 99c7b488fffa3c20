r"""Denoising diffusion in discrete times (Ho et al. 2020, https://arxiv.org/abs/2006.11239).

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e,    loss = E w_t |F(x_t, t) - target|^2,    t uniform on 0 ... T - 1

with a linear, cosine (Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672) or sigmoid schedule (Jabri et al.
2023, https://arxiv.org/abs/2212.11972), and the noise, the image or v (Salimans and Ho 2022,
https://arxiv.org/abs/2202.00512) as the target.
"""

from dataclasses import replace
from typing import Any, ClassVar, get_args

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from lightning_gen.diffusion.likelihood import bound
from lightning_gen.diffusion.prediction import Prediction, Weighting, image_of, target_of, weight_of
from lightning_gen.diffusion.processes import DiscreteDiffusion, Times, over_images
from lightning_gen.diffusion.schedules import Schedule, make_betas
from lightning_gen.diffusion.times import Spacing, discrete_times
from lightning_gen.errors import InputError
from lightning_gen.models.probability_flow import ProbabilityFlowModule
from lightning_gen.noise import randn, uniform
from lightning_gen.types import Batch, Classes, Images, ImageShape, Labels, Loss, Randomness, Sampling

STEPS = 20
"""Steps where nothing else is asked for, and the schedule has as many times."""
UNIT = 1000
"""The network is told the time as a share of this, whatever the schedule's length."""


class DDPM(ProbabilityFlowModule):
    """A diffusion model with discrete times.

    Args:
        image_shape: (channels, height, width).
        schedule: ``linear``, ``cosine`` or ``sigmoid``.
        num_times: T, at least 2.
        prediction: what the network predicts: ``noise``, ``image`` or ``v``.
        weighting: of the times: ``simple`` 1, ``snr`` that of the image's error, ``min_snr`` the same cut off at gamma.
        gamma: of ``min_snr``, above 0.
        **kwargs: see :class:`DenoiserModule`.

    Raises:
        InputError: when a number is out of its range.
    """

    samplers: ClassVar[tuple[str, ...]] = ("ancestral", "ddim", "dpm_solver", "euler", "heun")
    spacings: ClassVar[tuple[str, ...]] = get_args(Spacing)
    process: DiscreteDiffusion
    density: ClassVar[bool] = False
    usual: Sampling = Sampling("dpm_solver", steps=STEPS, spacing="trailing", guidance=1.0, clip=True)

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
        if gamma <= 0:
            raise InputError(f"model.gamma is {gamma}; it must be above 0")
        self.process = DiscreteDiffusion(make_betas(schedule, num_times))
        self.usual = replace(DDPM.usual, steps=min(STEPS, num_times))
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        self.prediction: Prediction = prediction
        self.weighting: Weighting = weighting
        self.gamma = gamma

    def loss(self, batch: Batch) -> Loss:
        """The weighted squared error of what the network predicts, a mean over pixels."""
        clean = batch.images
        times = torch.randint(self.process.num_times, (len(clean),), device=clean.device).float()
        noise = torch.randn_like(clean)
        alpha, sigma = (over_images(share).to(clean.dtype) for share in self.process.mixture(times))
        output = self.predict(self.network, alpha * clean + sigma * noise, times, self.classes_of_batch(batch))
        error = (output - target_of(self.prediction, clean, noise, alpha, sigma)).square().mean((1, 2, 3))
        weight = weight_of(self.weighting, self.prediction, self.process.snr(times), self.gamma).to(error.dtype)
        return Loss((weight * error).mean(), {"error": error.mean()})

    def predict(self, network: nn.Module, noisy: Images, times: Times, classes: Classes | None) -> Images:
        """The network's output, in float32."""
        return network(noisy, times * (UNIT / self.process.num_times), classes).float()

    def denoise(self, network: nn.Module, noisy: Images, times: Times, classes: Classes | None) -> Images:
        """The image that the network's prediction implies."""
        alpha, sigma = (over_images(share).to(noisy.dtype) for share in self.process.mixture(times))
        return image_of(self.prediction, self.predict(network, noisy, times, classes), noisy, alpha, sigma)

    def times(self, steps: int, spacing: Spacing) -> list[float]:
        """Times of the schedule, and -1, the image."""
        return discrete_times(self.process.num_times, steps, spacing)

    def finest(self) -> list[float]:
        """All times of the schedule, and -1."""
        return discrete_times(self.process.num_times, self.process.num_times)

    def log_prob_by(self, num: int | None) -> str:
        """What the bound is a sum over."""
        every = self.process.num_times
        return f"bound over {'all' if num is None else f'{num:,} of'} {every:,} times"

    def log_prob(
        self, images: Images, num: int | None = None, *, labels: Labels | None = None, generator: Randomness = None
    ) -> Float64[Tensor, " batch"]:
        """The variational bound with the posterior's variances, and D clipped to [-1, 1], as it draws.

        Args:
            images: levels in [-1, 1].
            num: how many times are drawn for each image; all in turn when None.
            labels: their classes, for a conditional model.
            generator: where the noise and the times come from; those of image i from the i-th, where there are several.

        Returns:
            Nats, an estimate without a bias of a lower bound of log P; given the classes, of a conditional model.

        Raises:
            InputError: when a conditional model gets no classes of the data.
        """
        shape = len(images), *self.image_shape
        with self.plainly(labels, len(images)) as denoise:
            places = uniform(len(images), num or self.process.num_times - 1, generator=generator, device=images.device)
            return bound(
                self.process,
                lambda noisy, times: denoise(noisy, times).clamp(-1, 1),
                images,
                places,
                lambda: randn(*shape, generator=generator, device=images.device),
            )
