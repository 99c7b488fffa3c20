r"""Gaussian noise processes: from an image at time 0 to pure noise.

    x_t = alpha_t x_0 + sigma_t e,    e ~ N(0, I)

All samplers need of a process are alpha and sigma, and the coordinates in which its probability flow is a plain
ordinary differential equation: with y = x / scale and a clock tau,

    dy / dtau = drift(x_0, e)

where x_0 is the denoiser's mean and e the noise that it implies (Song et al. 2021, https://arxiv.org/abs/2011.13456;
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
"""The clean images of noisy ones, and the time of each."""


class Mixture(NamedTuple):
    """The shares of image and noise at some times."""

    alpha: Tensor
    sigma: Tensor


def over_images(values: Float[Tensor, " batch"]) -> Float[Tensor, "batch 1 1 1"]:
    """One number for each image, so that it multiplies images."""
    return values[:, None, None, None]


class Process(ABC):
    """A noise process; times are float tensors whose unit is the process's own."""

    @abstractmethod
    def mixture(self, times: Tensor) -> Mixture:
        """The shares alpha and sigma at times of any shape."""

    @abstractmethod
    def clock(self, times: Tensor) -> Tensor:
        """tau, which does not stand still while there is noise."""

    def scale(self, times: Tensor) -> Tensor:
        """What x is divided by to give y: 1 unless the process says otherwise."""
        return torch.ones_like(self.clock(times))

    def drift(self, clean: Images, noise: Images) -> Images:
        """The slope dy / dtau: the noise, unless the process says otherwise."""
        return noise

    def snr(self, times: Tensor) -> Tensor:
        """The signal-to-noise ratio alpha^2 / sigma^2."""
        alpha, sigma = self.mixture(times)
        return (alpha / sigma).square()

    def noisy(self, clean: Images, noise: Images, times: Times) -> Images:
        """x_t of images.

        Args:
            clean: x_0.
            noise: e.
            times: one for each image.

        Returns:
            The noisy images, in the type of the clean ones.
        """
        alpha, sigma = (over_images(share).to(clean.dtype) for share in self.mixture(times))
        return alpha * clean + sigma * noise


class DiscreteDiffusion(Process):
    """The variance-preserving process of DDPM: times 0 ... T - 1, alpha^2 + sigma^2 = 1; time -1 is the image itself.

    Args:
        betas: the variance of each step.
    """

    def __init__(self, betas: Betas) -> None:
        self.num_times = len(betas)
        self.abar = torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)])
        self.on = {self.abar.device: Mixture(self.abar.sqrt(), (1 - self.abar).sqrt())}

    def mixture(self, times: Tensor) -> Mixture:
        """sqrt(abar) and sqrt(1 - abar), float64 where the device has it."""
        if times.device not in self.on:  # copied once for each device: a copy waits for what the device still has to do
            [on_cpu] = [shares for device, shares in self.on.items() if device.type == "cpu"]
            dtype = torch.float32 if times.device.type == "mps" else torch.float64
            self.on[times.device] = Mixture(*(share.to(times.device, dtype) for share in on_cpu))
        alpha, sigma = self.on[times.device]
        places = times.long() + 1
        return Mixture(alpha[places], sigma[places])

    def clock(self, times: Tensor) -> Tensor:
        """The ratio alpha / sigma, so that Euler's step is that of DDIM.

        In sigma / alpha, with the noise as the slope, it would be so too. But that is all but infinite at pure noise,
        and a mean of two slopes would multiply their least error by it; this one is so at the image alone.
        """
        alpha, sigma = self.mixture(times)
        return alpha / sigma

    def scale(self, times: Tensor) -> Tensor:
        """The noise's share sigma."""
        return self.mixture(times).sigma

    def drift(self, clean: Images, noise: Images) -> Images:
        """The slope of x / sigma = (alpha / sigma) x_0 + e: the image x_0."""
        return clean


class VarianceExploding(Process):
    """The process of EDM: noise is added to the image, and the time is its standard deviation."""

    def mixture(self, times: Tensor) -> Mixture:
        """1 and the time."""
        return Mixture(torch.ones_like(times), times)

    def clock(self, times: Tensor) -> Tensor:
        """The time."""
        return times


class StraightPath(Process):
    """The process of flow matching and rectified flow: x_t = (1 - t) x_0 + t e, t in [0, 1].

    Time 0 is the image and 1 the noise, as in all processes here; papers on flows count the other way.
    """

    def mixture(self, times: Tensor) -> Mixture:
        """1 - t and t."""
        return Mixture(1 - times, times)

    def clock(self, times: Tensor) -> Tensor:
        """The time."""
        return times

    def drift(self, clean: Images, noise: Images) -> Images:
        """The velocity e - x_0."""
        return noise - clean
