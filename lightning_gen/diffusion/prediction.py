r"""What a network may predict of x_t = alpha x_0 + sigma e, the way back to the image, and the weights of its loss.

    noise: e        x_0 = (x_t - sigma e) / alpha                Ho et al. 2020, https://arxiv.org/abs/2006.11239
    image: x_0
    v:     alpha e - sigma x_0    x_0 = (alpha x_t - sigma v) / (alpha^2 + sigma^2)
                                                              Salimans and Ho 2022, https://arxiv.org/abs/2202.00512

The squared error of each is that of the image times a function of the signal-to-noise ratio r = alpha^2 / sigma^2: of
the noise r, and of v, where alpha^2 + sigma^2 = 1, r + 1.
"""

from typing import Literal

import torch
from torch import Tensor

from lightning_gen.types import Images

Prediction = Literal["noise", "image", "v"]
Weighting = Literal["simple", "snr", "min_snr"]


def target_of(prediction: Prediction, clean: Images, noise: Images, alpha: Tensor, sigma: Tensor) -> Images:
    """What the network should predict.

    Args:
        prediction: which.
        clean: x_0.
        noise: e.
        alpha: share of the image, of a shape that multiplies images.
        sigma: share of the noise.

    Returns:
        The target.
    """
    if prediction == "noise":
        return noise
    return clean if prediction == "image" else alpha * noise - sigma * clean


def image_of(prediction: Prediction, output: Images, noisy: Images, alpha: Tensor, sigma: Tensor) -> Images:
    """The image that a prediction implies.

    Args:
        prediction: which.
        output: the network's.
        noisy: x_t.
        alpha: share of the image, of a shape that multiplies images.
        sigma: share of the noise.

    Returns:
        x_0.
    """
    if prediction == "noise":
        return (noisy - sigma * output) / alpha
    if prediction == "image":
        return output
    return (alpha * noisy - sigma * output) / (alpha.square() + sigma.square())


def weight_of(weighting: Weighting, prediction: Prediction, snr: Tensor, gamma: float = 5.0) -> Tensor:
    """The factor of a prediction's own squared error.

    ``simple`` is 1 (Ho et al. 2020, equation 14). ``snr`` makes it the error of the image times r, whatever is
    predicted, and ``min_snr`` the error of the image times min(r, gamma) (Hang et al. 2023,
    https://arxiv.org/abs/2303.09556, section 3.4).

    Args:
        weighting: which.
        prediction: what the network predicts, of a process with alpha^2 + sigma^2 = 1.
        snr: r.
        gamma: of ``min_snr``.

    Returns:
        The factors.
    """
    if weighting == "simple":
        return torch.ones_like(snr)
    of_image = snr.clamp(max=gamma) if weighting == "min_snr" else snr
    if prediction == "image":
        return of_image
    return of_image / (snr if prediction == "noise" else snr + 1)
