"""A picture of images in a model's range, for a notebook or a file."""

from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from lightning_gen.images import PICTURE_WIDTH, grid, to_uint8


def picture(
    images: Float[Tensor, "batch channels height width"] | UInt8[Tensor, "batch channels height width"],
    columns: int | None = None,
    min_width: int = PICTURE_WIDTH,
) -> Image.Image:
    """Arrange images in a grid; small images are enlarged by a whole factor.

    A notebook shows the picture; ``picture(model.sample(64)).save("samples.png")`` writes it.

    Args:
        images: uint8, or floats in [-1, 1], with one or three channels.
        columns: number of images per row; None: the square root of the number of images, rounded up.
        min_width: width in pixels of the picture, at least.

    Returns:
        The picture.
    """
    stored = to_uint8(images) if images.is_floating_point() else images
    return Image.fromarray(grid(stored, columns, min_width).permute(1, 2, 0).numpy())
