r"""Denoising diffusion probabilistic models (Ho et al. 2020, https://arxiv.org/abs/2006.11239).

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e,    loss = E w_t |F(x_t, t) - target|^2,    t uniform on 0 ... T - 1

with a linear, cosine (Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672) or sigmoid schedule (Jabri et al.
2023, https://arxiv.org/abs/2212.11972), and the noise, the image or v (Salimans and Ho 2022,
https://arxiv.org/abs/2202.00512) as the prediction target.
"""

from typing import ClassVar

from jaxtyping import Float64
from torch import Tensor

from lightning_gen.diffusion.guidance import clipped
from lightning_gen.diffusion.likelihood import variational_bound
from lightning_gen.models.diffusion.discrete import DiscreteDiffusionModule
from lightning_gen.models.diffusion.probability_flow import ProbabilityFlowModule
from lightning_gen.noise import randn, uniform
from lightning_gen.types import Images, Labels, RandomSource


class DDPM(DiscreteDiffusionModule, ProbabilityFlowModule):
    """A diffusion model in discrete time.

    Args:
        **kwargs: see :class:`DiscreteDiffusionModule`, :class:`DenoisingGenerator`, :class:`DenoisingModule` and
            :class:`GenerativeModule`.
    """

    density: ClassVar[bool] = False

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
