"""Real-ESRGAN's second-order degradation of photographs (Wang et al. 2021, https://arxiv.org/abs/2107.10833).

    y = (D2 o D1)(x),    D(x) = JPEG(resize(x * k) + n)

An image is blurred by a random kernel k, resized, corrupted by noise n and compressed, twice; a sinc filter adds
ringing and overshoot at the end. The kernels, ranges and probabilities are those of the paper's training.
Everything is computed on the CPU, image by image: the JPEG is a real one. Images are float32 in [0, 1] here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2, pi

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, UInt8
from scipy.special import j1
from torch import Tensor
from torchvision.io import decode_jpeg, encode_jpeg

from lightning_gen.data.parallel import threaded_map
from lightning_gen.data.sources import IndexArray
from lightning_gen.noise import mix_seed
from lightning_gen.resize import pad_symmetric
from lightning_gen.types import ImageSet, StoredImages

Image = Float[Tensor, "channels height width"]
NewImage = Float[Tensor, "channels new_height new_width"]
Kernel = Float64[np.ndarray, "size size"]
Range = tuple[float, float]
KERNEL_SIZES = tuple(range(7, 22, 2))
SHAPES, SHAPE_PROBABILITIES = ("gaussian", "generalized", "plateau"), (0.7, 0.15, 0.15)
ISOTROPIC = {"gaussian": 0.45 / 0.7, "generalized": 0.8, "plateau": 0.8}
"""Probability of an isotropic kernel, by shape."""
EXPONENTS: dict[str, Range] = {"gaussian": (1, 1), "generalized": (0.5, 4), "plateau": (1, 2)}
"""Range of the exponent beta, by shape; values below and above 1 are equally likely."""
SINC_PROBABILITY, FINAL_SINC_PROBABILITY = 0.1, 0.8
GREY_NOISE, JPEG_QUALITY = 0.4, (30, 95)
MODES = ("area", "bilinear", "bicubic")


@dataclass(frozen=True)
class Stage:
    """The ranges of one of the two degradations.

    Attributes:
        blur: probability of a blur.
        sigma: standard deviations of the kernels, in pixels.
        resize: probabilities to enlarge, to reduce and to keep the size.
        factors: smallest and largest factor of the size.
        noise: standard deviation of Gaussian noise, in 1 / 255.
        poisson: factor of Poisson noise.
    """

    blur: float
    sigma: Range
    resize: tuple[float, float, float]
    factors: Range
    noise: Range
    poisson: Range


FIRST = Stage(1.0, (0.2, 3), (0.2, 0.7, 0.1), (0.15, 1.5), (1, 30), (0.05, 3))
SECOND = Stage(0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), (1, 25), (0.05, 2.5))


def degrade(
    image: UInt8[Tensor, "channels height width"], scale: int, rng: np.random.Generator
) -> UInt8[Tensor, "channels new_height new_width"]:
    """Degrade an image and make it smaller.

    Args:
        image: 1 or 3 channels; ``scale`` must divide height and width.
        scale: number of times that the result is smaller.
        rng: source of all random numbers.

    Returns:
        The degraded image.
    """
    height, width = image.shape[1] // scale, image.shape[2] // scale
    x = _degrade_once(image.float() / 255, FIRST, image.shape[1], image.shape[2], rng)
    x = _jpeg(x, rng)
    x = _degrade_once(x, SECOND, height, width, rng)
    final = sinc_kernel(*_sinc_parameters(rng)) if rng.random() < FINAL_SINC_PROBABILITY else None
    if rng.random() < 0.5:
        x = _jpeg(_filter(_resize(x, height, width, rng), final), rng)
    else:
        x = _filter(_resize(_jpeg(x, rng), height, width, rng), final)
    return _to_uint8(x)


def degrade_batch(images: StoredImages, scale: int, seeds: Sequence[int]) -> UInt8[Tensor, "batch channels h w"]:
    """Degrade images in threads, image i with the random numbers of the i-th seed; the result is on their device."""
    on_cpu = images.cpu()
    parts = threaded_map(lambda i: degrade(on_cpu[i], scale, np.random.default_rng(seeds[i])), len(on_cpu))
    return torch.stack(list(parts)).to(images.device)


def image_seeds(indices: IndexArray) -> list[int]:
    """The seeds of images in validation and test, each a function of its index alone."""
    return [mix_seed("degraded", int(index)) for index in indices]


@dataclass
class DegradedImages:
    """The degraded images of a set, computed when they are read; image i is always degraded alike.

    Attributes:
        name: dataset and split.
        key: hash of the scale and of the base's key.
        labels: the base's labels.
        base: the set that is read.
        scale: number of times that the result is smaller.
    """

    name: str
    key: str
    labels: IndexArray | None
    base: ImageSet
    scale: int

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: slice | IndexArray) -> StoredImages:
        return degrade_batch(self.base[index], self.scale, image_seeds(np.arange(len(self))[index]))


def blur_kernel(
    size: int, sigma_x: float, sigma_y: float, angle: float, shape: str = "gaussian", beta: float = 1
) -> Kernel:
    """A blur kernel whose sum is 1, with C = R(angle) diag(sigma_x^2, sigma_y^2) R(angle)^T and q(z) = z^T C^-1 z.

    Gaussian: exp(-q / 2); generalized Gaussian: exp(-q^beta / 2); plateau: 1 / (1 + q^beta).

    Args:
        size: height and width, odd.
        sigma_x: standard deviation along the first axis, in pixels.
        sigma_y: standard deviation along the second axis.
        angle: rotation of the axes, in radians.
        shape: ``gaussian``, ``generalized`` or ``plateau``.
        beta: the exponent.

    Returns:
        The kernel.
    """
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = rotation @ np.diag([sigma_x**-2, sigma_y**-2]) @ rotation.T
    z = np.stack(np.meshgrid(*[np.arange(size) - size // 2] * 2), axis=-1).astype(np.float64)
    q = np.einsum("hwi,ij,hwj->hw", z, inverse, z).clip(0) ** beta
    kernel = 1 / (1 + q) if shape == "plateau" else np.exp(-q / 2)
    return kernel / kernel.sum()


def sinc_kernel(size: int, cutoff: float) -> Kernel:
    """The circular low-pass filter k(r) = w J1(w r) / (2 pi r) with the cutoff w in radians per pixel; its sum is 1."""
    r = np.hypot(*np.meshgrid(*[np.arange(size) - size // 2] * 2)).astype(np.float64)
    safe = np.where(r == 0, 1, r)
    kernel = np.where(r == 0, cutoff**2 / (4 * pi), cutoff * j1(cutoff * safe) / (2 * pi * safe))
    return kernel / kernel.sum()


def random_kernel(sigma: Range, rng: np.random.Generator) -> Kernel:
    """Draw a kernel of the paper's mixture of shapes."""
    if rng.random() < SINC_PROBABILITY:
        return sinc_kernel(*_sinc_parameters(rng))
    shape = str(rng.choice(SHAPES, p=SHAPE_PROBABILITIES))
    low, high = EXPONENTS[shape]
    beta = rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high)
    sigma_x, sigma_y, angle = rng.uniform(*sigma), rng.uniform(*sigma), rng.uniform(-pi, pi)
    if rng.random() < ISOTROPIC[shape]:
        sigma_y = sigma_x
    return blur_kernel(int(rng.choice(KERNEL_SIZES)), sigma_x, sigma_y, angle, shape, beta)


def _sinc_parameters(rng: np.random.Generator) -> tuple[int, float]:
    size = int(rng.choice(KERNEL_SIZES))
    return size, rng.uniform(pi / 3 if size < 13 else pi / 5, pi)


def _degrade_once(x: Image, stage: Stage, height: int, width: int, rng: np.random.Generator) -> NewImage:
    """Blur, resize to a random multiple of a size, and add noise."""
    if rng.random() < stage.blur:
        x = _filter(x, random_kernel(stage.sigma, rng))
    low, high = stage.factors
    kind = rng.choice(3, p=stage.resize)
    factor = (rng.uniform(1, high), rng.uniform(low, 1), 1.0)[kind]
    x = _resize(x, max(1, round(height * factor)), max(1, round(width * factor)), rng)
    grey = x.shape[0] == 3 and rng.random() < GREY_NOISE
    if rng.random() < 0.5:
        noise = rng.standard_normal((1 if grey else x.shape[0], *x.shape[1:]), dtype=np.float32)
        return (x + torch.from_numpy(noise) * (rng.uniform(*stage.noise) / 255)).clamp(0, 1)
    return (x + _poisson_noise(x, grey, rng) * rng.uniform(*stage.poisson)).clamp(0, 1)


def _poisson_noise(x: Image, grey: bool, rng: np.random.Generator) -> Tensor:
    """Shot noise of as many photons as the image has levels, rounded up to a power of 2."""
    levels = _to_uint8(x.mean(0, keepdim=True) if grey else x).numpy()
    photons = 2 ** ceil(log2(max(2, len(np.unique(levels)))))
    expected = levels.astype(np.float32) / 255
    return torch.from_numpy((rng.poisson(expected * photons) / photons - expected).astype(np.float32))


def _filter(x: Image, kernel: Kernel | None) -> Image:
    """Convolve each channel, with mirrored borders."""
    if kernel is None:
        return x
    weights = torch.from_numpy(kernel.astype(np.float32)).expand(x.shape[0], 1, -1, -1)
    padded = pad_symmetric(x[None], *[kernel.shape[0] // 2] * 4)
    return F.conv2d(padded, weights, groups=x.shape[0])[0].clamp(0, 1)


def _resize(x: Image, height: int, width: int, rng: np.random.Generator) -> NewImage:
    mode = str(rng.choice(MODES))
    align = None if mode == "area" else False
    return F.interpolate(x[None], (height, width), mode=mode, align_corners=align)[0].clamp(0, 1)


def _jpeg(x: Image, rng: np.random.Generator) -> Image:
    quality = int(rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1))
    return decode_jpeg(encode_jpeg(_to_uint8(x), quality)).float() / 255


def _to_uint8(x: Image) -> UInt8[Tensor, "channels height width"]:
    return x.mul(255).round().clamp(0, 255).to(torch.uint8)
