"""Stacked MNIST: three random digits are the colour channels of one image; its 1,000 modes are the triples of classes.

    x = (d[i], d[j], d[k]),    y = 100 y[i] + 10 y[j] + y[k],    i, j, k uniform and independent

It is used to count the modes that a GAN generates (Metz et al. 2017, https://arxiv.org/abs/1611.02163; VEEGAN,
https://arxiv.org/abs/1705.07761; PacGAN, https://arxiv.org/abs/1712.04086). The triples of each split are sampled
once, with a fixed seed, from the digits of that split. Only their indices are stored; the channels are stacked when a
batch is gathered, so that no image beyond MNIST's is decoded or held in memory.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from lightning_gen.data.packing import PackedImages
from lightning_gen.data.sources import IndexArray
from lightning_gen.noise import mix_seed
from lightning_gen.types import StoredImages

STACKED_SIZES = {"train": 128_000, "test": 26_000}
"""The number of images per split: PacGAN's published code trains on 128,000 images and scores 26,000 samples."""


@dataclass
class StackedImages:
    """An image set whose images are several images of another set, stacked in the channels.

    Attributes:
        name: dataset and split.
        key: hash of the digits, their labels and ``part_indices``.
        labels: the digits' labels, read as one decimal number.
        parts: the digits.
        part_indices: indices of each image's digits ``(images, stacked)``.
    """

    name: str
    key: str
    labels: IndexArray | None
    parts: PackedImages
    part_indices: IndexArray

    @property
    def stacked(self) -> int:
        """The number of digits per image."""
        return self.part_indices.shape[1]

    def __len__(self) -> int:
        return len(self.part_indices)

    def __getitem__(self, index: slice | IndexArray) -> StoredImages:
        return stack_channels(self.parts[self.part_indices[index].ravel()], self.stacked)


def sample_stacked_images(name: str, parts: PackedImages, num: int, stacked: int = 3) -> StackedImages:
    """Sample images of several digits each.

    Args:
        name: dataset and split; seeds the sampling.
        parts: labelled digits of classes 0 to 9.
        num: number of images.
        stacked: number of digits per image.

    Returns:
        The image set.
    """
    assert parts.labels is not None
    part_indices = np.random.default_rng(mix_seed(name)).integers(len(parts), size=(num, stacked))
    labels = parts.labels[part_indices] @ 10 ** np.arange(stacked)[::-1]
    content = f"{parts.key} {part_indices.shape} ".encode() + part_indices.tobytes()
    return StackedImages(name, blake2b(content, digest_size=16).hexdigest(), labels, parts, part_indices)


def stack_channels(
    parts: UInt8[Tensor, "parts channel height width"], stacked: int
) -> UInt8[Tensor, "images channels height width"]:
    """Concatenate each run of ``stacked`` consecutive images in the channels; their number must be a multiple of it."""
    num, channels, height, width = parts.shape
    return parts.reshape(num // stacked, stacked * channels, height, width)
