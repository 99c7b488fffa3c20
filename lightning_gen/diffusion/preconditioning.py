r"""Preconditioning: how a denoiser D is computed from a network F with well-scaled inputs and outputs.

    EDM          D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)            Karras et al. 2022, section 5 and table 1
    consistency  the same with f(x; sigma_min) = x                            Song et al. 2023, appendix C
    prediction   F estimates the noise, the image or v of a discrete process  Ho et al. 2020; Salimans and Ho 2022
    velocity     F estimates e - x_0 on a straight path: D(x_t; t) = x_t - t F(x_t; t)          Lipman et al. 2023

EDM's coefficients, with d the standard deviation of the data, give network inputs and targets of unit variance at every
noise level (https://arxiv.org/abs/2206.00364):

    c_in = 1 / sqrt(sigma^2 + d^2),         c_skip = d^2 / (sigma^2 + d^2)
    c_out = sigma d / sqrt(sigma^2 + d^2),  c_noise = log(sigma) / 4

The squared error of D weighted by 1 / c_out^2 is the squared error of F.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from lightning_gen.diffusion.prediction import Prediction, predicted_x0
from lightning_gen.diffusion.processes import DiscreteDiffusion, Times, append_dims
from lightning_gen.errors import InputError
from lightning_gen.types import Images

Levels = Float[Tensor, " batch"]
NOISE_SCALE = 100.0
"""Factor of c_noise: the sinusoidal embedding resolves changes of about 1, here 4 % of the noise level."""
TIME_SCALE = 1000.0
"""The network receives times in [0, 1] multiplied by this, for the same reason."""


class Preconditioning(ABC):
    """The inputs of a network F, and the denoised images that its output implies."""

    @abstractmethod
    def inputs(self, noisy: Images, times: Times) -> tuple[Images, Times]:
        """The images and the noise conditioning that F receives."""

    @abstractmethod
    def denoised(self, output: Images, noisy: Images, times: Times) -> Images:
        """D(x_t; t), of F's output in float32."""


class Coefficients(NamedTuple):
    """c_skip, c_out, c_in and c_noise of each image."""

    skip: Levels
    out: Levels
    into: Levels
    noise: Levels


@dataclass(frozen=True)
class EDMPreconditioning(Preconditioning):
    """EDM's preconditioning; times are noise levels sigma > 0.

    Attributes:
        sigma_data: d, the standard deviation of a pixel of the data, in units of [-1, 1].
    """

    sigma_data: float

    def coefficients(self, sigma: Levels) -> Coefficients:
        """The coefficients at noise levels."""
        total = sigma.square() + self.sigma_data**2
        return Coefficients(
            skip=self.sigma_data**2 / total,
            out=sigma * self.sigma_data / total.sqrt(),
            into=total.rsqrt(),
            noise=sigma.log() / 4,
        )

    def inputs(self, noisy: Images, times: Times) -> tuple[Images, Times]:
        """c_in x, and c_noise times ``NOISE_SCALE``."""
        coefficients = self.coefficients(times.float())
        return append_dims(coefficients.into) * noisy, NOISE_SCALE * coefficients.noise

    def denoised(self, output: Images, noisy: Images, times: Times) -> Images:
        """c_skip x + c_out F."""
        coefficients = self.coefficients(times.float())
        return append_dims(coefficients.skip) * noisy + append_dims(coefficients.out) * output


@dataclass(frozen=True)
class ConsistencyPreconditioning(EDMPreconditioning):
    r"""EDM's preconditioning with the boundary condition f(x; sigma_min) = x.

    c_skip = d^2 / ((sigma - sigma_min)^2 + d^2),    c_out = (sigma - sigma_min) d / sqrt(sigma^2 + d^2)

    Attributes:
        sigma_data: d.
        sigma_min: the lowest noise level, above 0; no sigma is below it.
    """

    sigma_min: float

    def coefficients(self, sigma: Levels) -> Coefficients:
        """The coefficients at noise levels; c_in and c_noise are EDM's."""
        above = sigma - self.sigma_min
        return (
            super()
            .coefficients(sigma)
            ._replace(
                skip=self.sigma_data**2 / (above.square() + self.sigma_data**2),
                out=above * self.sigma_data / (sigma.square() + self.sigma_data**2).sqrt(),
            )
        )


@dataclass(frozen=True)
class PredictionPreconditioning(Preconditioning):
    """A network that predicts the noise, the image or v of a discrete process.

    Attributes:
        process: the process.
        prediction: ``noise``, ``image`` or ``v``.
    """

    process: DiscreteDiffusion
    prediction: Prediction

    def inputs(self, noisy: Images, times: Times) -> tuple[Images, Times]:
        """x_t, and the time as a fraction of the schedule times ``TIME_SCALE``."""
        return noisy, times * (TIME_SCALE / self.process.num_times)

    def denoised(self, output: Images, noisy: Images, times: Times) -> Images:
        """The clean image that the prediction implies."""
        alpha, sigma = (append_dims(value).to(noisy.dtype) for value in self.process.alpha_sigma(times))
        return predicted_x0(self.prediction, output, noisy, alpha, sigma)


@dataclass(frozen=True)
class VelocityPreconditioning(Preconditioning):
    """A network that predicts the velocity e - x_0 of a straight path."""

    def inputs(self, noisy: Images, times: Times) -> tuple[Images, Times]:
        """x_t, and the time in [0, 1] times ``TIME_SCALE``."""
        return noisy, TIME_SCALE * times

    def denoised(self, output: Images, noisy: Images, times: Times) -> Images:
        """x_t - t v."""
        return noisy - append_dims(times) * output


def check_noise_levels(sigma_data: float, level_std: float, sigma_min: float, sigma_max: float) -> None:
    """Check the hyper-parameters of a model with continuous noise levels.

    Args:
        sigma_data: standard deviation of a pixel of the data.
        level_std: standard deviation of the logarithm of the training levels.
        sigma_min: lowest sampling level.
        sigma_max: highest sampling level.

    Raises:
        InputError: if one is not above 0, or ``sigma_min`` is not below ``sigma_max``.
    """
    if sigma_data <= 0 or level_std <= 0 or not 0 < sigma_min < sigma_max:
        raise InputError(
            f"model.sigma_data is {sigma_data}, level_std {level_std}, sigma_min {sigma_min} and sigma_max "
            f"{sigma_max}; all must be above 0, and sigma_min below sigma_max"
        )
