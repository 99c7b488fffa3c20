"""Distances of pairs of images that are not rounded to 256 levels, for metrics of a generator."""

from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float64
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.evaluation.lpips import MIN_SIDE, Lpips
from lightning_gen.types import Images, ImageShape

LPIPS_SIDE = 256
"""Larger images are averaged down by a whole factor to this side or more before LPIPS (StyleGAN's protocol)."""


@runtime_checkable
class ImageDistance(Protocol):
    """A distance of pairs of images.

    Attributes:
        name: the name in a protocol's name, e.g. ``classifier``.
        note: description for the score card.
    """

    name: str
    note: str

    def check(self, image_shape: ImageShape | None) -> None:
        """Check that the distance is defined for images of this shape, if known (else ``InputError``)."""
        ...

    def __call__(self, images: Images, targets: Images) -> Float64[Tensor, " batch"]:
        """Distance of each pair of images in [-1, 1], on the CPU; at least 0, and 0 for equal images."""
        ...


class FeatureDistance:
    """The squared distance of an extractor's features f, scaled to length 1.

        d(x, y) = | f(x) / |f(x)| - f(y) / |f(y)| |^2

    Args:
        extractor: the extractor.
    """

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor
        self.name = extractor.name
        self.note = f"squared distance of {extractor.name}'s features, scaled to length 1"

    def check(self, image_shape: ImageShape | None) -> None:
        """Check that the extractor computes features of floating-point images (else ``InputError``)."""
        if not self.extractor.takes_floats:
            raise InputError(
                f"{self.name} computes features of images with 256 levels only, which are too coarse for path lengths; "
                "use classifier, efficientnet_lite0 or inception"
            )

    def __call__(self, images: Images, targets: Images) -> Float64[Tensor, " batch"]:
        """See :class:`ImageDistance`."""
        vectors = self.extractor.float_vectors(torch.cat([images, targets])).double()
        x, y = F.normalize(vectors, dim=1).chunk(2)
        return (x - y).square().sum(1)


class LpipsDistance:
    """LPIPS with AlexNet; images with sides of 512 or more are first averaged down by whole factors.

    Args:
        lpips: the network.
    """

    def __init__(self, lpips: Lpips) -> None:
        self.lpips = lpips
        self.name = "lpips"
        self.note = f"LPIPS with AlexNet (weights {lpips.weights_hash})"

    def check(self, image_shape: ImageShape | None) -> None:
        """Check that images are large enough for AlexNet (else ``InputError``)."""
        if image_shape is not None and min(image_shape[1:]) < MIN_SIDE:
            raise InputError(
                f"lpips needs images of {MIN_SIDE}x{MIN_SIDE} or more, not {image_shape[2]}x{image_shape[1]}"
            )

    def __call__(self, images: Images, targets: Images) -> Float64[Tensor, " batch"]:
        """See :class:`ImageDistance`."""
        factor = max(1, min(images.shape[2:]) // LPIPS_SIDE)
        if factor > 1:
            images, targets = F.avg_pool2d(images, factor), F.avg_pool2d(targets, factor)
        with torch.inference_mode():
            return self.lpips.distance(images, targets).cpu()
