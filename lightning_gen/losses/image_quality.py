r"""Pixel-wise similarity of images and their reconstructions, of images scaled to [0, 1].

    MSE(x, y)  = mean (x - y)^2
    PSNR(x, y) = -10 log10 MSE(x, y)
    SSIM(x, y) = mean (2 m_x m_y + c_1) (2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1) (s_x^2 + s_y^2 + c_2))

SSIM (Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861) takes means and covariances in a Gaussian window of
11 pixels with a standard deviation of 1.5; it is torchmetrics'.

Images are floats in [-1, 1] or uint8 in [0, 255]; uint8 images are compared in float64.
"""

import math
from typing import Literal, TypeVar

from jaxtyping import Float, UInt8
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

FloatOrStored = Float[Tensor, "batch *pixels"] | UInt8[Tensor, "batch *pixels"]
MAX_PSNR = 100.0
"""Upper limit of PSNR in dB, which is infinite for identical images."""
MIN_MSE = 1e-10
"""The mean squared error at ``MAX_PSNR``."""
SSIM_MIN_SIDE = 6
"""The smallest height and width for which the window of SSIM can be padded."""

Error = TypeVar("Error", float, Tensor)


def mse(
    images: FloatOrStored, targets: FloatOrStored, reduction: Literal["mean", "image", "none"] = "mean"
) -> Float[Tensor, "*reduced"]:
    """Mean squared error of images scaled to [0, 1]; floats outside of [-1, 1] are not clipped.

    Args:
        images: floats in [-1, 1], or uint8.
        targets: images of the same shape and type.
        reduction: ``mean`` over all pixels (a scalar), over each ``image`` (one value per image), or ``none`` (one
            value per pixel).

    Returns:
        The errors, in the dtype of the floats, or in float64 for uint8 images.
    """
    if images.is_floating_point():
        errors = ((images - targets) / 2).square()
    else:
        errors = (images.double() / 255 - targets.double() / 255).square()
    if reduction == "none":
        return errors
    return errors.mean() if reduction == "mean" else errors.flatten(1).mean(1)


def psnr(error: Error) -> Error:
    """Peak signal-to-noise ratio in dB of mean squared errors of images in [0, 1], at most ``MAX_PSNR``."""
    if isinstance(error, Tensor):
        return (-10 * error.log10()).clamp(max=MAX_PSNR)
    return -10 * math.log10(max(error, MIN_MSE))


def ssim(
    images: Float[Tensor, "batch channels height width"] | UInt8[Tensor, "batch channels height width"],
    targets: Float[Tensor, "batch channels height width"] | UInt8[Tensor, "batch channels height width"],
) -> Float[Tensor, " batch"]:
    """Structural similarity of each pair of images, in [-1, 1].

    Args:
        images: floats in [-1, 1], or uint8; height and width are at least ``SSIM_MIN_SIDE``.
        targets: images of the same shape and type.

    Returns:
        One value per pair.
    """
    x, y = ((z + 1) / 2 if z.is_floating_point() else z.double() / 255 for z in (images, targets))
    similarity = structural_similarity_index_measure(x, y, data_range=1.0, reduction="none")
    assert isinstance(similarity, Tensor)
    return similarity.reshape(-1)  # torchmetrics returns a scalar for one pair, a vector for several
