"""Stacked MNIST: each image is three random digits, one in each colour channel; its 1,000 modes are the triples.

    x = (d[i], d[j], d[k]),    y = 100 y[i] + 10 y[j] + y[k],    i, j, k uniform and independent

Metz et al. 2017 (https://arxiv.org/abs/1611.02163) count with it how many modes a GAN finds; so do VEEGAN
(https://arxiv.org/abs/1705.07761) and PacGAN (https://arxiv.org/abs/1712.04086). The triples of each split are drawn
once for all, by a seed of their own, from the digits of the same split. They are kept as indices, and the channels are
put together in the gather of a batch: what is decoded and kept in memory are MNIST's own images and nothing besides.
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
"""Images in a split: PacGAN's published code trains on 128,000 and scores 26,000 samples."""


@dataclass
class StackedImages:
    """An image set each of whose images is some images of another set, one after the other in its channels.

    Attributes:
        name: dataset and split.
        key: hash of the digits, of their labels and of which are stacked on which.
        labels: the digits' labels read as one decimal number.
        parts: the digits.
        stacks: index of each image's digits ``(images, stacked)``.
    """

    name: str
    key: str
    labels: IndexArray | None
    parts: PackedImages
    stacks: IndexArray

    @property
    def stacked(self) -> int:
        """How many digits make an image."""
        return self.stacks.shape[1]

    def __len__(self) -> int:
        return len(self.stacks)

    def __getitem__(self, index: slice | IndexArray) -> StoredImages:
        return put_together(self.parts[self.stacks[index].ravel()], self.stacked)


def stack(name: str, parts: PackedImages, num: int, stacked: int = 3) -> StackedImages:
    """Draw images that are several digits each.

    Args:
        name: of the set, which also names the seed.
        parts: labelled digits, of classes 0 to 9.
        num: how many images to draw.
        stacked: how many digits make an image.

    Returns:
        The image set.
    """
    assert parts.labels is not None
    stacks = np.random.default_rng(mix_seed(name)).integers(len(parts), size=(num, stacked))
    labels = parts.labels[stacks] @ 10 ** np.arange(stacked)[::-1]
    key = blake2b(f"{parts.key} {stacks.shape} ".encode() + stacks.tobytes(), digest_size=16).hexdigest()
    return StackedImages(name, key, labels, parts, stacks)


def put_together(
    parts: UInt8[Tensor, "parts channel height width"], stacked: int
) -> UInt8[Tensor, "images channels height width"]:
    """Make the channels of one image of every so many images in a row.

    Args:
        parts: the images, a multiple of ``stacked``.
        stacked: how many make one.

    Returns:
        uint8 ``(num / stacked, channels * stacked, height, width)``.
    """
    num, channels, height, width = parts.shape
    return parts.reshape(num // stacked, stacked * channels, height, width)
