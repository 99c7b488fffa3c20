"""Differentiable augmentation, DiffAugment (Zhao et al. 2020, https://arxiv.org/abs/2006.10738).

A discriminator that sees T(x) and T(G(z)) alone, with gradients through T, cannot learn a small training set by heart,
and the generator does not learn to make augmented images. All is linear in the pixels x, given the draws u ~ U(0, 1):

    color          x + u - 1/2,  then (x - m) 2u + m with the pixel's mean m over channels,
                   then (x - m) (u + 1/2) + m with the image's mean m
    translation    by up to 1/8 of the side to every direction, whole pixels, zeros beyond the border
    cutout         zeros in a square of half the side around any pixel

Images lie in [-1, 1], where the paper's zeros are mid-grey: a shifted image of black ground has a grey rim. The rim is
the same on real and generated images, so the discriminator gains nothing by it, and grey prefers neither end of the
range. Colours may leave [-1, 1]: clamping them would stop the gradient.
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
    """Change every image by draws of its own, from PyTorch's global generator on the images' device.

    Args:
        images: (batch, channels, height, width) in [-1, 1], any number of channels.
        policy: what to do in turn (``Augmentation``); nothing for an empty policy.

    Returns:
        Images of the same shape and type.

    Raises:
        InputError: when the policy holds an unknown name.
    """
    names = get_args(Augmentation)
    unknown = [name for name in policy if name not in names]
    if unknown:
        raise InputError(f"model.augment has {unknown[0]!r}; it takes any of {', '.join(names)}")
    functions = {"color": color, "translation": translation, "cutout": cutout}
    for name in policy:
        images = functions[name](images)
    return images


def color(images: Images) -> Images:
    """Change brightness, saturation and contrast, in this order; one channel has no saturation to change.

    Args:
        images: (batch, channels, height, width).

    Returns:
        Images of the same shape.
    """
    images = images + _uniform(images) - 0.5
    images = torch.lerp(images.mean(1, keepdim=True), images, 2 * _uniform(images))
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, _uniform(images) + 0.5)


def translation(images: Images) -> Images:
    """Shift by whole pixels, uniform in up to 1/8 of the side up or down and left or right, onto zeros.

    Args:
        images: (batch, channels, height, width).

    Returns:
        Images of the same shape.
    """
    batch, _, height, width = images.shape
    reach_y, reach_x = (height + 4) // 8, (width + 4) // 8  # the nearest whole pixel
    rows = _integers(2 * reach_y + 1, images) + torch.arange(height, device=images.device)  # (batch, height)
    columns = _integers(2 * reach_x + 1, images) + torch.arange(width, device=images.device)  # (batch, width)
    padded = F.pad(images, (reach_x, reach_x, reach_y, reach_y)).movedim(1, 3)
    index = torch.arange(batch, device=images.device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]].movedim(3, 1)


def cutout(images: Images) -> Images:
    """Put zeros in a rectangle of half the height and half the width, 1/4 of the area where all of it is inside.

    Its centre is uniform over the image; what lies beyond the border is lost, so 1/16 of the area is the least.

    Args:
        images: (batch, channels, height, width).

    Returns:
        Images of the same shape.
    """
    _, _, height, width = images.shape
    hidden = _window(height, images)[:, :, None] & _window(width, images)[:, None, :]
    return images.masked_fill(hidden[:, None], 0)


def _window(side: int, images: Images) -> Bool[Tensor, "batch side"]:
    """Where along a side the window of half of it lies, its centre uniform over the side."""
    length = (side + 1) // 2
    # an even length is centred between pixels, 0 to side of them; an odd one on a pixel
    start = _integers(side + 1 - length % 2, images) - length // 2
    position = torch.arange(side, device=images.device)
    return (start <= position) & (position < start + length)


def _uniform(images: Images) -> Float[Tensor, "batch 1 1 1"]:
    return torch.rand(len(images), 1, 1, 1, device=images.device).to(images.dtype)


def _integers(bound: int, images: Images) -> Tensor:
    return torch.randint(bound, (len(images), 1), device=images.device)
