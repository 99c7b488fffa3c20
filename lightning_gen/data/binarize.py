"""Black-and-white images from grey ones: each pixel is white with a probability equal to its grey value.

    x ~ Bernoulli(u / 255),    u in 0 ... 255

Bernoulli likelihoods in papers are of such images, since for grey values the Bernoulli "likelihood" is no probability.
``static`` draws every image once for all (as Larochelle and Murray 2011 did for MNIST); ``dynamic`` draws each training
image anew whenever it is seen (Burda et al. 2016, https://arxiv.org/abs/1509.00519), and validation and test once.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from lightning_gen.noise import mix_seed
from lightning_gen.types import StoredImages

Binarize = Literal["static", "dynamic"]


def drawn_once(
    image: UInt8[np.ndarray, "channels height width"], name: str, index: int
) -> UInt8[np.ndarray, "channels height width"]:
    """Binarise an image, the same way each time.

    Args:
        image: grey values.
        name: of the set that it belongs to, which with the number seeds the draw.
        index: its number in the set.

    Returns:
        0 and 255.
    """
    noise = np.random.default_rng(mix_seed("binarize", name, index)).random(image.shape, dtype=np.float32)
    return np.where(noise * 255 < image, np.uint8(255), np.uint8(0))


def drawn_anew(images: StoredImages, seed: int) -> StoredImages:
    """Binarise a batch on its device.

    Args:
        images: grey values.
        seed: of the draw.

    Returns:
        0 and 255.
    """
    generator = torch.Generator(images.device).manual_seed(seed)
    noise = torch.rand(images.shape, generator=generator, device=images.device)
    return (noise * 255 < images).to(torch.uint8) * 255
