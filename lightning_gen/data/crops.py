"""Crops, flips and rotations of stored images, on the device that they are on."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.types import StoredImages

Crops = UInt8[Tensor, "batch channels size size"]


@dataclass(frozen=True)
class Crop:
    """A square cut out of each image.

    Attributes:
        size: height and width.
        seed: seed of random positions; None: the centre.
        unit: number that divides the positions. An image that is ``unit`` times as large as its partner is cropped at
            ``unit`` times the partner's position.
    """

    size: int
    seed: int | None = None
    unit: int = 1

    def random_offsets(self, num: int, stored_size: int, seed: int) -> Int64[Tensor, "num 2"]:
        """The rows and columns of the upper left corners, uniform over the positions inside of the image.

        Args:
            num: number of images.
            stored_size: height and width of the images.
            seed: seed of the batch.

        Returns:
            Rows and columns.
        """
        positions = (stored_size - self.size) // self.unit + 1
        generator = torch.Generator().manual_seed(seed)
        return self.unit * torch.randint(positions, (num, 2), generator=generator)


def crop_at(images: StoredImages, offsets: Int64[Tensor, "batch 2"], size: int) -> Crops:
    """Cut a square out of each image, whose upper left corner is at (row, column)."""
    window = torch.arange(size, device=images.device)
    rows, columns = (offset.to(images.device)[:, None] + window for offset in offsets.unbind(1))
    batch, channels, _, width = images.shape
    images = images.gather(2, rows[:, None, :, None].expand(batch, channels, size, width))
    return images.gather(3, columns[:, None, None, :].expand(batch, channels, size, size))


def centre_crop(images: StoredImages, size: int, unit: int = 1) -> Crops:
    """Cut the centred square out of each image, at a position that ``unit`` divides (see :class:`Crop`)."""
    top, left = ((side // unit - size // unit) // 2 * unit for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def flip_and_rotate(
    images: StoredImages, flips: Bool[Tensor, " batch"] | None, turns: Int64[Tensor, " batch"] | None
) -> StoredImages:
    """Mirror images left to right, and turn them counter-clockwise by multiples of 90 degrees.

    Args:
        images: square images where ``turns`` is given.
        flips: the images to mirror; None: none of them.
        turns: number of quarter turns of each image, 0 to 3; None: no turns.

    Returns:
        The images.
    """
    if flips is not None:
        images = torch.where(flips[:, None, None, None], images.flip(-1), images)
    if turns is not None:
        turned = torch.stack([images.rot90(turn, (-2, -1)) for turn in range(4)])
        images = turned[turns, torch.arange(len(images), device=images.device)]
    return images


def check_crop(image_size: int, load_size: int | None, tile: int | None) -> None:
    """Check that a crop is not larger than the images or tiles that it is cut out of.

    Args:
        image_size: height and width of the crop.
        load_size: value of ``data.load_size``.
        tile: value of ``data.tile``.

    Raises:
        InputError: for a larger crop, or when both options are set.
    """
    if load_size is not None and tile is not None:
        raise InputError(f"data.load_size is {load_size} and data.tile is {tile}; set one of them")
    for option, size in (("load_size", load_size), ("tile", tile)):
        if size is not None and size < image_size:
            raise InputError(
                f"data.{option} is {size}, less than image_size {image_size}; set data.image_size to {size} or less"
            )
