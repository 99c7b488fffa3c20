"""Binarisation: each pixel becomes white with a probability equal to its grey value.

    x ~ Bernoulli(u / 255),    u in 0 ... 255

Papers report Bernoulli likelihoods of binarised images, because the Bernoulli "likelihood" of grey values is not a
probability. ``static`` samples every image once (Larochelle and Murray 2011, for MNIST); ``dynamic`` samples each
training image again in every batch (Burda et al. 2016, https://arxiv.org/abs/1509.00519), and validation and test
images once.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from lightning_gen.noise import mix_seed
from lightning_gen.types import StoredImages

Binarize = Literal["static", "dynamic"]


def binarize_static(
    image: UInt8[np.ndarray, "channels height width"], name: str, index: int
) -> UInt8[np.ndarray, "channels height width"]:
    """Binarise one image to 0 and 255; the result is a function of the image, ``name`` and ``index``.

    Args:
        image: grey values.
        name: dataset and split.
        index: the image's index in the split.

    Returns:
        The binarised image.
    """
    noise = np.random.default_rng(mix_seed("binarize", name, index)).random(image.shape, dtype=np.float32)
    return np.where(noise * 255 < image, np.uint8(255), np.uint8(0))


def binarize_dynamic(images: StoredImages, seed: int) -> StoredImages:
    """Binarise a batch of grey images to 0 and 255 on its device."""
    generator = torch.Generator(images.device).manual_seed(seed)
    noise = torch.rand(images.shape, generator=generator, device=images.device)
    return (noise * 255 < images).to(torch.uint8) * 255
