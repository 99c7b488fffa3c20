"""What a discriminator is shown in place of the plain images, real and generated alike."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.errors import InputError
from lightning_gen.types import Images, Labels


def add_noise(images: Images, sigma: float) -> Images:
    """Instance noise: images + sigma e with e ~ N(0, I) (Sonderby et al. 2017, https://arxiv.org/abs/1610.04490).

    Real and generated images so always overlap, and no discriminator can tell them wholly apart.

    Args:
        images: images.
        sigma: standard deviation in units of [-1, 1]; 0 leaves the images as they are.

    Returns:
        The noisy images.
    """
    return images + sigma * torch.randn_like(images) if sigma > 0 else images


def pack(images: Images, packing: int) -> Float[Tensor, "packs packed_channels height width"]:
    """PacGAN: each run of images becomes one, channels beside channels (Lin et al. 2018, https://arxiv.org/abs/1712.04086).

    A discriminator that judges several samples at once sees when they are all alike.

    Args:
        images: (batch, channels, height, width).
        packing: images in a pack.

    Returns:
        (batch / packing, packing * channels, height, width).

    Raises:
        InputError: when the batch cannot be cut into packs.
    """
    if packing == 1:
        return images
    num, channels, height, width = images.shape
    if num % packing:
        raise InputError(f"model.packing is {packing} and does not divide the batch of {num} images")
    return images.reshape(num // packing, packing * channels, height, width)


def label_planes(
    images: Images, labels: Labels, num_classes: int
) -> Float[Tensor, "batch channels_and_classes height width"]:
    """Add a plane for each class, 1 for the image's own class and 0 for the others (Mirza and Osindero 2014).

    Args:
        images: (batch, channels, height, width).
        labels: classes (batch).
        num_classes: how many there are.

    Returns:
        (batch, channels + num_classes, height, width).
    """
    planes = nn.functional.one_hot(labels, num_classes).to(images.dtype)[:, :, None, None]
    return torch.cat([images, planes.expand(-1, -1, *images.shape[2:])], 1)
