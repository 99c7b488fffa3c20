"""The network of the suite's own classifier, whose features scores and perceptual losses use."""

from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.types import Images

NUM_FEATURES = 64
MAX_SIDE = 32
"""Larger images are averaged down to this side."""


class ClassifierNetwork(nn.Module):
    """Three convolutions, average pooling to 2x2, a linear layer of ``NUM_FEATURES`` features, and a linear classifier.

    Args:
        channels: image channels.
        classes: the number of classes.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        widths = (channels, 16, 32, 64)
        layers: list[nn.Module] = []
        for index, (in_channels, out_channels) in enumerate(pairwise(widths)):
            size = 5 if index == 0 else 3
            convolution = nn.Conv2d(in_channels, out_channels, size, 2, size // 2, bias=False)
            layers += [convolution, nn.BatchNorm2d(out_channels), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.hidden = nn.Linear(4 * widths[-1], NUM_FEATURES)
        self.head = nn.Linear(NUM_FEATURES, classes)

    def forward(self, images: Images) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch classes"]]:
        """Features and logits of images in [-1, 1] of at least 8x8."""
        features = self.hidden(self.body(images))
        return features, self.head(features)


def shrink(images: Images) -> Float[Tensor, "batch channels _ _"]:
    """Average images down where a side is longer than ``MAX_SIDE``."""
    height, width = images.shape[2:]
    if max(height, width) <= MAX_SIDE:
        return images
    return F.adaptive_avg_pool2d(images, (min(height, MAX_SIDE), min(width, MAX_SIDE)))
