r"""Similarity of images and their reconstructions or translations, of images scaled to [0, 1].

    MSE(x, y)  = mean (x - y)^2
    PSNR(x, y) = -10 log10 MSE(x, y)
    SSIM(x, y) = mean (2 m_x m_y + c_1) (2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1) (s_x^2 + s_y^2 + c_2))

SSIM (Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861) takes means and covariances in a Gaussian window of
11 pixels with a standard deviation of 1.5; it is torchmetrics'.

Super-resolution is scored by the luma of ITU-R BT.601 with studio range, as MATLAB's ``rgb2ycbcr`` computes it,

    Y = 16 + 65.481 R + 128.553 G + 24.966 B,    R, G, B in [0, 1],    Y in [16, 235]

with a peak of 255, and without the pixels at the border, as many as the scale. With luma in [0, 255], PSNR is
20 log10(255 / 219) = 1.32 dB lower.

Images are floats in [-1, 1] or uint8 in [0, 255]; uint8 images are compared in float64.
"""

import math
from typing import Literal, TypeVar

from jaxtyping import Float, Float64, UInt8
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

FloatOrStored = Float[Tensor, "batch *pixels"] | UInt8[Tensor, "batch *pixels"]
MAX_PSNR = 100.0
"""Upper limit of PSNR in dB, which is infinite for identical images."""
MIN_MSE = 1e-10
"""The mean squared error at ``MAX_PSNR``."""
MIN_VARIATION = 1e-4
"""The smallest total variation that an image's is divided by."""
SSIM_MIN_SIDE = 6
"""The smallest height and width for which the window of SSIM can be padded."""
SSIM_WINDOW = 11
"""Height and width of the window of SSIM."""
LUMA_WEIGHTS = (65.481, 128.553, 24.966)
"""Weights of red, green and blue in [0, 1]; their sum is 219."""
LUMA_OFFSET = 16.0

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
    window: Literal["padded", "valid"] = "padded",
) -> Float[Tensor, " batch"]:
    """Structural similarity of each pair of images, in [-1, 1].

    Args:
        images: floats in [-1, 1], or uint8; height and width are at least ``SSIM_MIN_SIDE`` (``padded``) or
            ``SSIM_WINDOW`` (``valid``).
        targets: images of the same shape and type.
        window: mean over the windows around all pixels, with mirrored images beyond the border (``padded``), or over
            the windows inside the image (``valid``), as in the published code and in scores of super-resolution.

    Returns:
        One value per pair.
    """
    x, y = ((z + 1) / 2 if z.is_floating_point() else z.double() / 255 for z in (images, targets))
    if window == "valid":
        return _valid_ssim(x, y)
    similarity = structural_similarity_index_measure(x, y, data_range=1.0, reduction="none")
    assert isinstance(similarity, Tensor)
    return similarity.reshape(-1)  # torchmetrics returns a scalar for one pair, a vector for several


def total_variation(images: FloatOrStored) -> Float64[Tensor, " batch"]:
    """Total variation of each image scaled to [0, 1]: mean |x[i + 1] - x[i]| over rows plus the same over columns.

    Args:
        images: floats in [-1, 1], or uint8, with at least two rows and columns.

    Returns:
        One value per image, in float64: 0 for a constant image, at most 2.
    """
    unit = images.double() / (2 if images.is_floating_point() else 255)
    return sum((unit.diff(dim=axis).abs().flatten(1).mean(1) for axis in (-2, -1)), unit.new_zeros(len(unit)))


def variation_ratio(images: FloatOrStored, targets: FloatOrStored) -> Float64[Tensor, " batch"]:
    """Total variation of each image, divided by that of its target.

    It is below 1 for images that are blurred and above 1 for images with more contrast or noise than their targets. An
    image is compared with a target that is almost constant as if the latter had a total variation of ``MIN_VARIATION``.
    """
    return total_variation(images) / total_variation(targets).clamp(min=MIN_VARIATION)


def luma(images: FloatOrStored) -> Float64[Tensor, "batch 1 height width"]:
    """Studio luma Y of BT.601 in [16, 235], in float64.

    A grey image is taken as R = G = B: Y = 16 + 219 g.

    Args:
        images: floats in [-1, 1], or uint8, with one or three channels.

    Returns:
        One channel.
    """
    unit = (images.double() + 1) / 2 if images.is_floating_point() else images.double() / 255
    weights = unit.new_tensor(LUMA_WEIGHTS).view(1, 3, 1, 1)
    return LUMA_OFFSET + (unit.expand(-1, 3, -1, -1) * weights).sum(1, keepdim=True)


def crop_border(images: Tensor, border: int) -> Tensor:
    """Remove ``border`` pixels at each side."""
    return images[..., border : images.shape[-2] - border, border : images.shape[-1] - border]


def psnr_y(images: FloatOrStored, targets: FloatOrStored, border: int = 0) -> Float64[Tensor, " batch"]:
    """PSNR in dB of the luma of each pair of images, with a peak of 255, at most ``MAX_PSNR``.

    Args:
        images: floats in [-1, 1], or uint8, with one or three channels.
        targets: images of the same height and width.
        border: number of pixels at each side that are left out.

    Returns:
        One value per pair.
    """
    x, y = (crop_border(luma(z), border) / 255 for z in (images, targets))
    return psnr((x - y).square().flatten(1).mean(1))


def ssim_y(images: FloatOrStored, targets: FloatOrStored, border: int = 0) -> Float64[Tensor, " batch"]:
    """SSIM of the luma of each pair of images, with a peak of 255, over the windows inside the image.

    Args:
        images: floats in [-1, 1], or uint8, with one or three channels; without the border, height and width are at
            least ``SSIM_WINDOW``.
        targets: images of the same height and width.
        border: number of pixels at each side that are left out.

    Returns:
        One value per pair.
    """
    return _valid_ssim(*(crop_border(luma(z), border) / 255 for z in (images, targets)))


def _valid_ssim(
    images: Float[Tensor, "batch channels height width"], targets: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, " batch"]:
    """SSIM of images in [0, 1], over the windows inside the image."""
    _, values = structural_similarity_index_measure(
        images, targets, data_range=1.0, reduction="none", return_full_image=True
    )
    return crop_border(values, SSIM_WINDOW // 2).flatten(1).mean(1)
