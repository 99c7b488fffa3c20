"""Corruptions of the input of a denoising autoencoder (Vincent et al. 2010, section 3.3).

Vincent et al., Stacked Denoising Autoencoders, JMLR 11, https://www.jmlr.org/papers/v11/vincent10a.html. The paper
masks a fixed fraction of the pixels of an image; here each pixel is masked independently, with that probability.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.networks.discriminator_inputs import add_noise
from lightning_gen.types import Images

Corruption = Literal["gaussian", "masking", "salt_and_pepper"]
BLACK, WHITE = -1.0, 1.0


def corrupt(images: Images, kind: Corruption, amount: float) -> Images:
    """Corrupt images with noise from torch's global generator; masks are the same for all channels of a pixel.

    Args:
        images: in [-1, 1].
        kind: ``gaussian`` adds noise from N(0, amount^2), so the result may exceed [-1, 1]; ``masking`` sets each pixel
            to black with probability ``amount``; ``salt_and_pepper`` sets it to black or white, each with half of that
            probability.
        amount: a standard deviation in units of [-1, 1], or a probability.

    Returns:
        The corrupted images.

    Raises:
        InputError: if the amount is out of range.
    """
    check_amount(kind, amount)
    if kind == "gaussian":
        return add_noise(images, amount)
    uniform = uniform_per_pixel(images)
    if kind == "masking":
        return images.masked_fill(uniform < amount, BLACK)
    return images.masked_fill(uniform < amount, WHITE).masked_fill(uniform < amount / 2, BLACK)


def uniform_per_pixel(images: Images) -> Float[Tensor, "batch 1 height width"]:
    """Uniform numbers in [0, 1), one per pixel."""
    return torch.rand_like(images[:, :1])


def check_amount(kind: Corruption, amount: float) -> None:
    """Raise ``InputError`` if an amount is out of range for a kind of corruption."""
    if kind == "gaussian" and not 0 <= amount < math.inf:
        raise InputError(
            f"amount is {amount}; for gaussian noise it is the standard deviation in units of [-1, 1], at least 0"
        )
    if kind != "gaussian" and not 0 <= amount <= 1:
        raise InputError(f"amount is {amount}; for {kind} it is the probability that a pixel is corrupted, from 0 to 1")
