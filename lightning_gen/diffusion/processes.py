r"""Gaussian noise processes: from an image at time 0 to pure noise.

    x_t = alpha_t x_0 + sigma_t e,    e ~ N(0, I)

Samplers need alpha and sigma, and coordinates in which the probability flow is a simple ordinary differential equation:
with y = x / scale and a time variable tau,

    dy / dtau = drift(x_0, e)

where x_0 is the denoised image and e the noise that it implies (Song et al. 2021, https://arxiv.org/abs/2011.13456;
Karras et al. 2022, https://arxiv.org/abs/2206.00364, section 2; Lipman et al. 2023, https://arxiv.org/abs/2210.02747).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.diffusion.schedules import Betas
from lightning_gen.types import Images

Times = Float[Tensor, " batch"]
Denoise = Callable[[Images, Times], Images]
"""A denoiser: noisy images and the time of each, to estimates of the clean images."""


class AlphaSigma(NamedTuple):
    """The coefficients of image and noise."""

    alpha: Tensor
    sigma: Tensor


def append_dims(values: Float[Tensor, " batch"]) -> Float[Tensor, "batch 1 1 1"]:
    """Reshape one number per image so that it broadcasts over images."""
    return values[:, None, None, None]


class Process(ABC):
    """A noise process; times are float tensors in the unit of the process."""

    @abstractmethod
    def alpha_sigma(self, times: Tensor) -> AlphaSigma:
        """Alpha and sigma at times of any shape."""

    @abstractmethod
    def tau(self, times: Tensor) -> Tensor:
        """The time variable tau, strictly monotonic while sigma is above 0."""

    def scale(self, times: Tensor) -> Tensor:
        """The scale of y = x / scale; 1 by default."""
        return torch.ones_like(self.tau(times))

    def drift(self, clean: Images, noise: Images) -> Images:
        """The slope dy / dtau; the noise by default."""
        return noise

    def snr(self, times: Tensor) -> Tensor:
        """The signal-to-noise ratio alpha^2 / sigma^2."""
        alpha, sigma = self.alpha_sigma(times)
        return (alpha / sigma).square()

    def noisy(self, clean: Images, noise: Images, times: Times) -> Images:
        """x_t of clean images x_0 and noise e, in the dtype of the clean images."""
        alpha, sigma = (append_dims(value).to(clean.dtype) for value in self.alpha_sigma(times))
        return alpha * clean + sigma * noise


class DiscreteDiffusion(Process):
    """The variance-preserving process of DDPM: times 0 ... T - 1, alpha^2 + sigma^2 = 1; time -1 is the image itself.

    Args:
        betas: variance of the noise added in each step.
    """

    def __init__(self, betas: Betas) -> None:
        self.num_times = len(betas)
        self.abar = torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)])
        self.tables = {self.abar.device: AlphaSigma(self.abar.sqrt(), (1 - self.abar).sqrt())}

    def alpha_sigma(self, times: Tensor) -> AlphaSigma:
        """sqrt(abar) and sqrt(1 - abar), float64 where the device has it."""
        if times.device not in self.tables:  # copied once per device, because a copy synchronises
            [on_cpu] = [table for device, table in self.tables.items() if device.type == "cpu"]
            dtype = torch.float32 if times.device.type == "mps" else torch.float64
            self.tables[times.device] = AlphaSigma(*(value.to(times.device, dtype) for value in on_cpu))
        alpha, sigma = self.tables[times.device]
        index = times.long() + 1
        return AlphaSigma(alpha[index], sigma[index])

    def tau(self, times: Tensor) -> Tensor:
        """The ratio alpha / sigma, so that Euler's step is that of DDIM.

        Euler's step in sigma / alpha, with the noise as slope, would be DDIM's too. But sigma / alpha is nearly
        infinite at pure noise, where it would amplify the error of Heun's averaged slope; alpha / sigma is infinite
        only at the clean image.
        """
        alpha, sigma = self.alpha_sigma(times)
        return alpha / sigma

    def scale(self, times: Tensor) -> Tensor:
        """Sigma."""
        return self.alpha_sigma(times).sigma

    def drift(self, clean: Images, noise: Images) -> Images:
        """The slope of x / sigma = (alpha / sigma) x_0 + e: the clean image x_0."""
        return clean


class VarianceExploding(Process):
    """The process of EDM: x_t = x_0 + t e, so the time is the standard deviation of the noise."""

    def alpha_sigma(self, times: Tensor) -> AlphaSigma:
        """1 and the time."""
        return AlphaSigma(torch.ones_like(times), times)

    def tau(self, times: Tensor) -> Tensor:
        """The time."""
        return times


class StraightPath(Process):
    """The process of flow matching and rectified flow: x_t = (1 - t) x_0 + t e, t in [0, 1].

    Time 0 is the image and 1 the noise, as in all processes of this package; papers on flow matching reverse the time.
    """

    def alpha_sigma(self, times: Tensor) -> AlphaSigma:
        """1 - t and t."""
        return AlphaSigma(1 - times, times)

    def tau(self, times: Tensor) -> Tensor:
        """The time."""
        return times

    def drift(self, clean: Images, noise: Images) -> Images:
        """The velocity e - x_0."""
        return noise - clean
