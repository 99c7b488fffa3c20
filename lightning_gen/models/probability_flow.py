r"""What diffusion models and flows share beyond drawing: their denoiser is a mean, so they have a probability flow.

    D(x_t; t, y) = E[x_0 | x_t, y],    dx / dt of the flow is a function of x and D(x; t, y)

Along it images go to noise and back, and log p(x) changes by its divergence (Song et al. 2021,
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
from lightning_gen.models.denoiser import CHUNK, DenoiserModule
from lightning_gen.noise import uniform
from lightning_gen.types import Images, Labels, Latents, Randomness


class ProbabilityFlowModule(DenoiserModule):
    """Base of diffusion models and flows.

    Args:
        **kwargs: see :class:`DenoiserModule`.

    Attributes:
        density: whether ``log_prob`` is a density of real numbers.
    """

    density: ClassVar[bool] = True

    # ---- from images to noise

    def encode(self, images: Images, *, labels: Labels | None = None) -> Latents:
        """The noise that a deterministic sampler makes images of: the probability flow, run backwards.

        See :func:`invert`; it begins at the least time of the process, whose noise is next to none, and goes along
        the sampler's own times, or those that an adaptive sampler chooses. The more steps, the nearer ``decode``
        comes to the images.

        Args:
            images: in [-1, 1].
            labels: their classes, for a conditional model.

        Returns:
            Latents as :meth:`decode` takes them.

        Raises:
            InputError: when ``sampling`` names a sampler that draws fresh noise, or classes are missing.
        """
        classes = self.conditions(labels, len(images))
        times = self.visited(self.sampling)
        least = self.finest()[-2]
        parts = []
        for start in range(0, len(images), CHUNK):
            part = slice(start, start + CHUNK)
            with self.drawing(None if classes is None else classes[part], self.refused) as sampler:
                if sampler.stochastic:
                    self.refused()
                rising = [least, *(time for time in reversed(times) if time > least)]
                parts.append(invert(self.process, sampler.denoise, images[part], rising, sampler.paced).flatten(1))
        noise = torch.cat(parts)
        return noise if classes is None else torch.cat([noise, classes.to(noise.dtype)], 1)

    # ---- likelihood

    def log_prob_by(self, num: int | None) -> str:
        """What the flow's log-density is an estimate by."""
        return f"flow ODE to {TOLERANCE:g}, {num or 1} {'probes' if num and num > 1 else 'probe'}"

    def log_prob(
        self, images: Images, num: int | None = None, *, labels: Labels | None = None, generator: Randomness = None
    ) -> Float64[Tensor, " batch"]:
        """Log-density under the probability flow of D, neither guided nor clipped.

        Args:
            images: in units of [-1, 1], dequantised.
            num: probes of Hutchinson's estimator for each image; 1 when None.
            labels: their classes, for a conditional model.
            generator: where the probes come from; those of image i from the i-th, where there are several.

        Returns:
            Nats; given the classes, where the model is conditional.

        Raises:
            InputError: when a conditional model gets no classes of the data, or a value is not finite.
        """
        with self.plainly(labels, len(images)) as denoise:
            draws = uniform(len(images), num or 1, *self.image_shape, generator=generator, device=images.device)
            signs = torch.where(draws < 0.5, -1.0, 1.0).transpose(0, 1)
            [noisiest, *_] = self.times(1, self.usual.spacing)
            return flow_log_prob(self.process, denoise, images, signs, START, noisiest)

    @contextmanager
    def plainly(self, labels: Labels | None, num: int) -> Iterator[Denoise]:
        """D itself, outside of any ``torch.inference_mode``, whose tensors no gradient goes through.

        Args:
            labels: the classes of the images that will be denoised, for a conditional model.
            num: how many images.

        Yields:
            A function of noisy images and times.

        Raises:
            InputError: when a conditional model gets no classes, or one is no class of the data.
        """
        with self.producing() as network, torch.inference_mode(False), torch.no_grad():
            classes = self.conditions(labels, num)

            def denoise(noisy: Images, times: Tensor) -> Images:
                return self.denoise(network, noisy, times, classes)

            yield denoise
