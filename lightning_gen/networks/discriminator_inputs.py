"""Transformations of the discriminator's inputs, applied to real and generated images alike."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.errors import InputError
from lightning_gen.types import Images, Labels


def add_noise(images: Images, sigma: float) -> Images:
    """Instance noise: images + sigma e with e ~ N(0, I) (Sonderby et al. 2017, https://arxiv.org/abs/1610.04490).

    With noise, the distributions of real and generated images overlap, so that no discriminator separates them
    perfectly.

    Args:
        images: images in [-1, 1].
        sigma: standard deviation, in units of [-1, 1]; for 0, the images are returned and no noise is drawn.

    Returns:
        The noisy images.
    """
    return images + sigma * torch.randn_like(images) if sigma > 0 else images


def pack(images: Images, packing: int) -> Float[Tensor, "packs packed_channels height width"]:
    """PacGAN: concatenate the channels of consecutive images (Lin et al. 2018, https://arxiv.org/abs/1712.04086).

    A discriminator of several samples at once detects that they are all alike.

    Args:
        images: (batch, channels, height, width).
        packing: number of images per pack.

    Returns:
        (batch / packing, packing * channels, height, width).

    Raises:
        InputError: if ``packing`` does not divide the batch.
    """
    if packing == 1:
        return images
    batch, channels, height, width = images.shape
    if batch % packing:
        raise InputError(f"model.packing is {packing} and does not divide the batch of {batch} images")
    return images.reshape(batch // packing, packing * channels, height, width)


def label_planes(
    images: Images, labels: Labels, num_classes: int
) -> Float[Tensor, "batch channels_and_classes height width"]:
    """Append one channel per class: 1 for the class of the image, 0 for the others (Mirza and Osindero 2014)."""
    planes = nn.functional.one_hot(labels, num_classes).to(images.dtype)[:, :, None, None]
    return torch.cat([images, planes.expand(-1, -1, *images.shape[2:])], 1)
