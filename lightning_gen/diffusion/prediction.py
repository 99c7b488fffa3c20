r"""Prediction targets of a network given x_t = alpha x_0 + sigma e, the implied clean image, and loss weights.

    noise: e        x_0 = (x_t - sigma e) / alpha                Ho et al. 2020, https://arxiv.org/abs/2006.11239
    image: x_0
    v:     alpha e - sigma x_0    x_0 = (alpha x_t - sigma v) / (alpha^2 + sigma^2)
                                                              Salimans and Ho 2022, https://arxiv.org/abs/2202.00512

Each squared error is that of the image times a function of the signal-to-noise ratio r = alpha^2 / sigma^2: r for the
noise, and r + 1 for v, where alpha^2 + sigma^2 = 1.
"""

from typing import Literal

import torch
from torch import Tensor

from lightning_gen.types import Images

Prediction = Literal["noise", "image", "v"]
Weighting = Literal["simple", "snr", "min_snr"]


def prediction_target(prediction: Prediction, clean: Images, noise: Images, alpha: Tensor, sigma: Tensor) -> Images:
    """The prediction target of clean images x_0 and noise e; alpha and sigma broadcast over images."""
    if prediction == "noise":
        return noise
    return clean if prediction == "image" else alpha * noise - sigma * clean


def predicted_x0(prediction: Prediction, output: Images, noisy: Images, alpha: Tensor, sigma: Tensor) -> Images:
    """The clean image x_0 that a network output implies, given x_t; alpha and sigma broadcast over images."""
    if prediction == "noise":
        return (noisy - sigma * output) / alpha
    if prediction == "image":
        return output
    return (alpha * noisy - sigma * output) / (alpha.square() + sigma.square())


def loss_weight(weighting: Weighting, prediction: Prediction, snr: Tensor, gamma: float = 5.0) -> Tensor:
    """The weight of the squared error of a prediction.

    ``simple`` is 1 (Ho et al. 2020, equation 14). With ``snr`` the weighted error equals r times the error of the image
    for every prediction, with ``min_snr`` it equals min(r, gamma) times the error of the image (Hang et al. 2023,
    https://arxiv.org/abs/2303.09556, section 3.4).

    Args:
        weighting: the weighting.
        prediction: the prediction target, of a process with alpha^2 + sigma^2 = 1.
        snr: r.
        gamma: gamma of ``min_snr``.

    Returns:
        The weights, of the shape of ``snr``.
    """
    if weighting == "simple":
        return torch.ones_like(snr)
    image_weight = snr.clamp(max=gamma) if weighting == "min_snr" else snr
    if prediction == "image":
        return image_weight
    return image_weight / (snr if prediction == "noise" else snr + 1)
