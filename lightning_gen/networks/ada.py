"""The augmentations of adaptive discriminator augmentation, ADA (Karras et al. 2020, https://arxiv.org/abs/2006.06676).

The discriminator receives only augmented images, real and generated, and gradients pass through the augmentation. Each
operation is applied to an image with probability p, in this order (appendix B; sides are the image's, n is standard
normal, u is uniform):

    group    operation                 applied with probability p
    blit     x_flip                    mirror left and right, with probability 1/2
             rotate90                  u in {0, 1, 2, 3} quarter turns
             integer_translation       u in [-1/8, 1/8] of the sides, rounded to whole pixels
    geom     isotropic_scale           2^(0.2 n)
             rotation                  u in [-pi, pi], before and after the next with probability 1 - sqrt(1 - p) each
             anisotropic_scale         2^(0.2 n) along x, its inverse along y
             fractional_translation    n / 8 of the sides
    color    brightness                + 0.2 n
             contrast                  2^(0.5 n)
             luma_flip                 reflect the luma, with probability 1/2
             hue                       rotate by u in [-pi, pi] about the luma axis (3 channels)
             saturation                2^n
    filter   filter                    for each of four bands: gain 2^n, normalised to the same expected power
    noise    noise                     Gaussian noise of standard deviation |0.1 n|
    cutout   cutout                    zero a rectangle of half the sides, its centre uniform in the image

While p < 1, an operation leaves some images unchanged, and the distribution of images can be recovered from that of
augmented ones: the generator does not learn to generate augmented images, if p is not close to 1.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lightning_gen import affine
from lightning_gen.checks import check_choice
from lightning_gen.networks import color
from lightning_gen.networks.bands import BandGains, amplify_bands, normalized_gains
from lightning_gen.networks.warp import warp
from lightning_gen.types import Images

AdaGroup = Literal["blit", "geom", "color", "filter", "noise", "cutout"]
BGC: tuple[AdaGroup, ...] = ("blit", "geom", "color")
"""The paper's choice of groups."""
Scalars = Float[Tensor, " batch"]
Values = Float[Tensor, "batch *values"]


def ada_augment(
    images: Images,
    probability: float | Float[Tensor, ""],
    groups: Sequence[str] = BGC,
    multipliers: Mapping[str, float] | None = None,
) -> Images:
    """Augment each image independently, with PyTorch's global generator on the images' device.

    Args:
        images: images in [-1, 1] with any number of channels.
        probability: p, at least 0; above 1, it acts as 1.
        groups: groups of operations that may be applied; their order has no effect.
        multipliers: factors of p, by name of an operation or group; an operation's own factor replaces its group's, and
            the default is 1.

    Returns:
        Images of the same shape and type, differentiable any number of times in ``images``. An image to which no
        operation is applied is returned bit for bit.

    Raises:
        InputError: for an unknown group.
    """
    for group in groups:
        check_choice(get_args(AdaGroup), ada_groups=group)
    if not groups or (not isinstance(probability, Tensor) and probability <= 0):
        return images
    with torch.autocast(images.device.type, enabled=False):
        # positions and colours need float32
        precise = images.float() if images.dtype in (torch.float16, torch.bfloat16) else images
        return apply_groups(precise, groups, Draws(images, probability, multipliers or {})).to(images.dtype)


class Draws:
    """Random numbers for the images of a batch, in float32.

    Args:
        images: the batch.
        probability: p.
        multipliers: factors of p by operation or group.
    """

    def __init__(
        self, images: Images, probability: float | Float[Tensor, ""], multipliers: Mapping[str, float]
    ) -> None:
        self.batch, self.device = len(images), images.device
        self.probability, self.multipliers = probability, multipliers

    def probability_of(self, operation: str, group: str) -> float | Float[Tensor, ""]:
        """The probability of an operation of a group, which may exceed 1."""
        return self.probability * self.multipliers.get(operation, self.multipliers.get(group, 1.0))

    def select(self, operation: str, group: str, value: Values, neutral: float, *, twice: bool = False) -> Values:
        """``value`` for the images to which an operation is applied, and ``neutral`` for the others.

        Args:
            operation: name of the operation.
            group: name of its group.
            value: its parameters, drawn for every image.
            neutral: the parameters of the identity.
            twice: whether this is one of two applications, of which at least one is made with the probability p:
                the probability of each is 1 - sqrt(1 - p).

        Returns:
            The parameters.
        """
        uniform = self.uniform()
        if twice:
            uniform = 1 - uniform.square()  # below p with probability 1 - sqrt(1 - p)
        applied = (uniform < self.probability_of(operation, group)).reshape(-1, *[1] * (value.ndim - 1))
        return torch.where(applied, value, neutral)

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Values:
        """Uniform numbers in [low, high), with one row of the given shape per image."""
        return low + (high - low) * torch.rand(self.batch, *shape, device=self.device)

    def integers(self, bound: int) -> Scalars:
        """Uniform integers in [0, bound)."""
        return torch.randint(bound, (self.batch,), device=self.device).float()

    def normal(self, sigma: float, *shape: int) -> Values:
        """Normal numbers of mean 0, with one row of the given shape per image."""
        return sigma * torch.randn(self.batch, *shape, device=self.device)


def apply_groups(images: Images, groups: Sequence[str], draws: Draws) -> Images:
    """Apply the operations of groups in the order of the module's table."""
    channels, height, width = images.shape[1:]
    if "blit" in groups or "geom" in groups:
        inverse = affine.identity(len(images), device=images.device)
        if "blit" in groups:
            inverse = inverse @ inverse_blit(draws, height, width)
        if "geom" in groups:
            inverse = inverse @ inverse_geom(draws, height, width)
        images = warp(images, inverse)
    if "color" in groups:
        images = color.apply_color(images, color_matrices(draws, channels))
    if "filter" in groups:
        images = amplify_bands(images, band_gains(draws))
    if "noise" in groups:
        sigma = draws.select("noise", "noise", draws.normal(0.1).abs(), 0.0).to(images.dtype)
        images = images + sigma[:, None, None, None] * torch.randn_like(images)
    if "cutout" in groups:
        images = images.masked_fill(cutout_mask(draws, height, width)[:, None], 0)
    return images


def inverse_blit(draws: Draws, height: int, width: int) -> affine.Matrices:
    """Inverse of the map of points under the group blit, in pixels from the centre; its entries are whole numbers."""
    flip = 1 - 2 * draws.select("x_flip", "blit", draws.integers(2), 0.0)
    turns = draws.select("rotate90", "blit", draws.integers(4), 0.0)
    x, y = draws.select("integer_translation", "blit", draws.uniform(-1 / 8, 1 / 8, 2), 0.0).unbind(1)
    mirrored = affine.scaling(flip, torch.ones_like(flip))
    turned = affine.rotation(turns * (math.pi / 2)).round()
    return mirrored @ turned @ affine.translation(-(x * width).round(), -(y * height).round())


def inverse_geom(draws: Draws, height: int, width: int) -> affine.Matrices:
    """Inverse of the map of points under the group geom, in pixels from the centre."""
    scale = draws.select("isotropic_scale", "geom", draws.normal(0.2).exp2(), 1.0)
    first, second = (
        draws.select("rotation", "geom", draws.uniform(-math.pi, math.pi), 0.0, twice=True) for _ in range(2)
    )
    stretch = draws.select("anisotropic_scale", "geom", draws.normal(0.2).exp2(), 1.0)
    x, y = draws.select("fractional_translation", "geom", draws.normal(1 / 8, 2), 0.0).unbind(1)
    scaled = affine.scaling(1 / scale, 1 / scale)
    stretched = affine.rotation(first) @ affine.scaling(1 / stretch, stretch) @ affine.rotation(second)
    return scaled @ stretched @ affine.translation(-x * width, -y * height)


def color_matrices(draws: Draws, channels: int) -> color.ColorMatrices:
    """Matrices of the group color."""
    shift = draws.select("brightness", "color", draws.normal(0.2), 0.0)
    factor = draws.select("contrast", "color", draws.normal(0.5).exp2(), 1.0)
    flip = draws.select("luma_flip", "color", draws.integers(2), 0.0)
    matrices = color.contrast(factor, channels) @ color.brightness(shift, channels)
    matrices = color.luma_flip(flip, channels) @ matrices
    if channels == 3:
        matrices = color.hue(draws.select("hue", "color", draws.uniform(-math.pi, math.pi), 0.0)) @ matrices
    if channels > 1:
        factor = draws.select("saturation", "color", draws.normal(1.0).exp2(), 1.0)
        matrices = color.saturation(factor, channels) @ matrices
    return matrices


def band_gains(draws: Draws) -> BandGains:
    """Gains of the group filter: each band in turn is amplified, and the gains normalised."""
    gains = torch.ones(draws.batch, 4, device=draws.device)
    for band in range(4):
        amplified = torch.ones_like(gains)
        amplified[:, band] = draws.select("filter", "filter", draws.normal(1.0).exp2(), 1.0)
        gains = gains * normalized_gains(amplified)
    return gains


def cutout_mask(draws: Draws, height: int, width: int) -> Bool[Tensor, "batch height width"]:
    """Where the group cutout sets images to zero."""
    size = draws.select("cutout", "cutout", draws.uniform(0.5, 0.5), 0.0)[:, None]
    centers = draws.uniform(0.0, 1.0, 2)
    rows, columns = (
        ((torch.arange(side, device=draws.device) + 0.5) / side - centers[:, axis, None]).abs() < size / 2
        for axis, side in enumerate((height, width))
    )
    return rows[:, :, None] & columns[:, None, :]
