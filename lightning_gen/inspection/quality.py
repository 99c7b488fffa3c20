"""How near reconstructions come to their images."""

from typing import NamedTuple

from lightning_gen.losses.image_quality import mse, psnr, ssim
from lightning_gen.types import StoredImages


class Quality(NamedTuple):
    """PSNR in dB of the mean squared error in [0, 1], at most 100, and the mean SSIM in [-1, 1]."""

    psnr: float
    ssim: float


def quality(images: StoredImages, again: StoredImages, batch_size: int) -> Quality:
    """Compare images with their reconstructions.

    SSIM is that of Wang et al. 2004 (https://doi.org/10.1109/TIP.2003.819861): a Gaussian window of 11 pixels with a
    standard deviation of 1.5.

    Args:
        images: uint8 images.
        again: their reconstructions.
        batch_size: images that are compared at once.

    Returns:
        The figures over all images.
    """
    squares = similarity = 0.0
    for some, same in zip(images.split(batch_size), again.split(batch_size), strict=True):
        squares += mse(same, some, "image").sum().item()
        similarity += ssim(same, some).sum().item()
    return Quality(psnr(squares / len(images)), similarity / len(images))
