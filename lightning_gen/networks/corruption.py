"""What a denoising autoencoder is shown in place of clean images (Vincent et al. 2010, section 3.3).

Vincent et al., Stacked Denoising Autoencoders, JMLR 11, https://www.jmlr.org/papers/v11/vincent10a.html. The paper
masks a fixed share of an image's values; here each pixel is masked by itself, with the share as its probability.
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
    """Corrupt images with noise from torch's global generator; all channels of a pixel share its fate.

    Args:
        images: in [-1, 1].
        kind: ``gaussian`` adds noise from N(0, amount^2), and so leaves [-1, 1]; ``masking`` makes each pixel black
            with probability ``amount``; ``salt_and_pepper`` makes it with that probability black or white, evenly.
        amount: a standard deviation in units of [-1, 1], or a probability.

    Returns:
        The corrupted images; the given ones stay as they are.

    Raises:
        InputError: when the amount is out of range.
    """
    check_amount(kind, amount)
    if kind == "gaussian":
        return add_noise(images, amount)
    chance = pixel_chances(images)
    if kind == "masking":
        return images.masked_fill(chance < amount, BLACK)
    return images.masked_fill(chance < amount, WHITE).masked_fill(chance < amount / 2, BLACK)


def pixel_chances(images: Images) -> Float[Tensor, "batch 1 height width"]:
    """A number for each pixel, even in [0, 1)."""
    return torch.rand_like(images[:, :1])


def check_amount(kind: Corruption, amount: float) -> None:
    """Refuse an amount that is none of its kind.

    Args:
        kind: of corruption.
        amount: a standard deviation or a probability.

    Raises:
        InputError: when it is out of range.
    """
    if kind == "gaussian" and not 0 <= amount < math.inf:
        raise InputError(
            f"amount is {amount}; of gaussian noise it is the standard deviation in units of [-1, 1], 0 or more"
        )
    if kind != "gaussian" and not 0 <= amount <= 1:
        raise InputError(f"amount is {amount}; of {kind} it is the probability that a pixel is corrupted, from 0 to 1")
