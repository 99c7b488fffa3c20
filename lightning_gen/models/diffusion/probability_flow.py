r"""Inversion and likelihood of diffusion models and flows: their denoiser is a posterior mean, so it defines a flow.

    D(x_t; t, y) = E[x_0 | x_t, y],    dx / dt of the flow is a function of x and D(x; t, y)

The flow maps images to noise and back, and log p(x) changes by its divergence (Song et al. 2021,
https://arxiv.org/abs/2011.13456, section 4.3).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from lightning_gen.diffusion.inversion import invert
from lightning_gen.diffusion.likelihood import START, TOLERANCE, flow_log_prob
from lightning_gen.diffusion.processes import Denoise
from lightning_gen.models.diffusion.denoising import SAMPLING_BATCH
from lightning_gen.models.diffusion.generation import DenoisingGenerator
from lightning_gen.noise import uniform
from lightning_gen.types import Images, Labels, Latents, RandomSource


class ProbabilityFlowModule(DenoisingGenerator):
    """Base class of diffusion models and flows.

    Args:
        **kwargs: see :class:`DenoisingGenerator` and :class:`DenoisingModule`.

    Attributes:
        density: whether ``log_prob`` is a density of real numbers, not a probability of image levels.
    """

    density: ClassVar[bool] = True

    # ---- from images to noise

    def encode(self, images: Images, *, labels: Labels | None = None) -> Latents:
        """The noise from which a deterministic sampler generates the given images: the inverted probability flow.

        See :func:`invert`. It starts at the lowest noise level of the process and visits the sampler's times, or those
        that an adaptive sampler chooses. The error of ``decode`` falls with the number of steps.

        Args:
            images: in [-1, 1].
            labels: the class of each image, for a conditional model.

        Returns:
            Latents, as for :meth:`decode`.

        Raises:
            InputError: if the sampler is stochastic, or a conditional model gets no labels.
        """
        classes = self.class_rows(labels, len(images))
        times = self.timesteps(self.sampling)
        lowest = self.all_timesteps()[-2]
        parts = []
        for start in range(0, len(images), SAMPLING_BATCH):
            part = slice(start, start + SAMPLING_BATCH)
            with self.sampler(None if classes is None else classes[part], self.reject_noise) as sampler:
                if sampler.stochastic:
                    self.reject_noise()
                increasing = [lowest, *(time for time in reversed(times) if time > lowest)]
                noise = invert(self.process, sampler.denoise, images[part], increasing, sampler.fixed_timesteps)
                parts.append(noise.flatten(1))
        noise = torch.cat(parts)
        return noise if classes is None else torch.cat([noise, classes.to(noise.dtype)], 1)

    # ---- likelihood

    def describe_log_prob(self, num: int | None) -> str:
        """Solver tolerance and number of probes."""
        return f"flow ODE to {TOLERANCE:g}, {num or 1} {'probes' if num and num > 1 else 'probe'}"

    def log_prob(
        self, images: Images, num: int | None = None, *, labels: Labels | None = None, generator: RandomSource = None
    ) -> Float64[Tensor, " batch"]:
        """Log-density under the probability flow of D, without guidance or clipping.

        Args:
            images: in units of [-1, 1], dequantised.
            num: number of probes of Hutchinson's estimator per image; None for 1.
            labels: the class of each image, for a conditional model.
            generator: source of the probes; with several generators, those of image i come from the i-th.

        Returns:
            Nats per image; conditional on the class for a conditional model.

        Raises:
            InputError: if a conditional model gets no valid labels, or a value is not finite.
        """
        with self.inference_denoiser(labels, len(images)) as denoise:
            draws = uniform(len(images), num or 1, *self.image_shape, generator=generator, device=images.device)
            signs = torch.where(draws < 0.5, -1.0, 1.0).transpose(0, 1)
            [noisiest, *_] = self.spaced_times(1, self.default_sampling.spacing)
            return flow_log_prob(self.process, denoise, images, signs, START, noisiest)

    @contextmanager
    def inference_denoiser(self, labels: Labels | None, num: int) -> Iterator[Denoise]:
        """D without guidance or clipping, outside of ``torch.inference_mode``, so that it can be differentiated.

        Args:
            labels: the class of each image, for a conditional model.
            num: number of images.

        Yields:
            A function of noisy images and times.

        Raises:
            InputError: if a conditional model gets no valid labels.
        """
        with self.inference_network() as network, torch.inference_mode(False), torch.no_grad():
            classes = self.class_rows(labels, num)

            def denoise(noisy: Images, times: Tensor) -> Images:
                return network(noisy, times, classes)

            yield denoise
