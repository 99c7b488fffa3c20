"""Differentiable augmentation, DiffAugment (Zhao et al. 2020, https://arxiv.org/abs/2006.10738).

The discriminator receives only T(x) and T(G(z)), and gradients pass through T. It cannot memorise a small training set,
and the generator does not learn to generate augmented images. Given the random numbers u ~ U(0, 1), all augmentations
are linear in the pixels x:

    color          x + u - 1/2,  then (x - m) 2u + m with the pixel's mean m over channels,
                   then (x - m) (u + 1/2) + m with the image's mean m
    translation    by up to 1/8 of the side in each direction, in whole pixels, with zeros beyond the border
    cutout         zeros in a square of half the side, centred at a random position

Images are in [-1, 1], where the zeros of the paper are mid-grey: translating an image with a black background adds a
grey border. The border is the same for real and generated images, so the discriminator cannot use it. Colours may leave
[-1, 1], because clamping them would make the gradient zero.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.types import Images

Augmentation = Literal["color", "translation", "cutout"]


def diff_augment(images: Images, policy: Sequence[str]) -> Images:
    """Augment each image independently, with PyTorch's global generator on the images' device.

    Args:
        images: images in [-1, 1] with any number of channels.
        policy: augmentations in the order in which they are applied (:data:`Augmentation`).

    Returns:
        Images of the same shape and type.

    Raises:
        InputError: for an unknown augmentation.
    """
    names = get_args(Augmentation)
    unknown = [name for name in policy if name not in names]
    if unknown:
        raise InputError(f"model.augment has {unknown[0]!r}; choose from {', '.join(names)}")
    functions = {"color": color, "translation": translation, "cutout": cutout}
    for name in policy:
        images = functions[name](images)
    return images


def color(images: Images) -> Images:
    """Change brightness, saturation and contrast, in this order; the saturation of one channel does not change."""
    images = images + _random_uniform(images) - 0.5
    images = torch.lerp(images.mean(1, keepdim=True), images, 2 * _random_uniform(images))
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, _random_uniform(images) + 0.5)


def translation(images: Images) -> Images:
    """Translate by up to 1/8 of each side, uniform in whole pixels, with zeros beyond the border."""
    batch, _, height, width = images.shape
    max_y, max_x = (height + 4) // 8, (width + 4) // 8  # rounded to the nearest pixel
    rows = _random_integers(2 * max_y + 1, images) + torch.arange(height, device=images.device)  # (batch, height)
    columns = _random_integers(2 * max_x + 1, images) + torch.arange(width, device=images.device)  # (batch, width)
    padded = F.pad(images, (max_x, max_x, max_y, max_y)).movedim(1, 3)
    index = torch.arange(batch, device=images.device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]].movedim(3, 1)


def cutout(images: Images) -> Images:
    """Set a rectangle of half the height and half the width to zero, with its centre uniform over the image.

    The part beyond the border is clipped, so that 1/16 to 1/4 of the area is zero.
    """
    _, _, height, width = images.shape
    mask = _cutout_mask(height, images)[:, :, None] & _cutout_mask(width, images)[:, None, :]
    return images.masked_fill(mask[:, None], 0)


def _cutout_mask(side: int, images: Images) -> Bool[Tensor, "batch side"]:
    """A window of half the side per image, with its centre uniform over the side."""
    length = (side + 1) // 2
    # the centre of an even length lies between two pixels (side + 1 positions), that of an odd length on a pixel
    start = _random_integers(side + 1 - length % 2, images) - length // 2
    position = torch.arange(side, device=images.device)
    return (start <= position) & (position < start + length)


def _random_uniform(images: Images) -> Float[Tensor, "batch 1 1 1"]:
    return torch.rand(len(images), 1, 1, 1, device=images.device).to(images.dtype)


def _random_integers(bound: int, images: Images) -> Tensor:
    return torch.randint(bound, (len(images), 1), device=images.device)
