r"""Equivariance of a generator to translation and rotation, in decibels; higher is better.

    EQ = 10 log10( 4 / E[ (t(G(z)) - G(t(z)))^2 ] )

(Karras et al. 2021, https://arxiv.org/abs/2106.12423, equation 3 and appendix E): a signal-to-noise ratio with the
peak 2 of images in [-1, 1]. G(t(z)) is the image generated after a transform of the generator's input, t(G(z)) the
image transformed afterwards. The mean is over samples, channels and the pixels that come from within the image.

    eqt        translation by whole pixels, t_x and t_y ~ U(-1/8, 1/8) of the side, rounded
    eqt_frac   the same without rounding; t(G(z)) by Lanczos's filter
    eqr        rotation by an angle ~ U(0, 2 pi); both images with the band limits of ``movement.py``, without the 6
               pixels next to the borders

Images are float32 and not clipped to [-1, 1]. Both have the same constant noise. Sample i is a function of (seed, i).
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_gen.affine import identity, rotation, translation
from lightning_gen.errors import InputError
from lightning_gen.evaluation.distance import ImageDistance
from lightning_gen.evaluation.metric_record import FeatureInputs, LatentBatch, Metric, Scores
from lightning_gen.evaluation.movement import pseudo_rotate, rotate, rotation_mask, translate
from lightning_gen.evaluation.path_length import full_precision
from lightning_gen.noise import image_generators, mix_seed, uniform
from lightning_gen.types import Images, TransformableGenerator, Transforms

MAX_TRANSLATION = 1 / 8
"""The largest translation, as a fraction of the image's side."""
ROTATION_MARGIN = 6
"""Width in pixels of the border that ``eqr`` leaves out."""

Movement = Literal["eqt", "eqt_frac", "eqr"]
Errors = tuple[Float[Tensor, "batch channels height width"], Float[Tensor, "batch 1 height width"]]
"""Squared differences, and masks that are 1 where they count."""


class Equivariance:
    """The squared errors of a model's moved images.

    Args:
        movement: ``eqt``, ``eqt_frac`` or ``eqr``.
    """

    def __init__(self, movement: Movement) -> None:
        self.movement = movement

    def check(self, model: object) -> None:
        """Check that a model takes transforms, and that its images are large enough; see :class:`GeneratorProbe`."""
        if not isinstance(model, TransformableGenerator) or not model.transformable:
            raise InputError(
                f"{self.movement} needs a generator whose input can be moved: StyleGAN3, or StyleGAN2 with "
                "model.input fourier"
            )
        side = model.image_shape[-1]
        if self.movement == "eqr" and side <= 2 * ROTATION_MARGIN:
            raise InputError(f"eqr leaves out {ROTATION_MARGIN} pixels at each border, and images have {side} pixels")

    def note(self, distance: ImageDistance) -> str:
        """Describe the metric; see :class:`GeneratorProbe`."""
        details = {
            "eqt": f"translations of up to {MAX_TRANSLATION:g} of the side by whole pixels",
            "eqt_frac": f"translations of up to {MAX_TRANSLATION:g} of the side, Lanczos 3",
            "eqr": f"rotations, Lanczos 3 in both frames, without {ROTATION_MARGIN} pixels at each border",
        }
        return f"{self.movement}: PSNR with peak 2, {details[self.movement]}"

    def __call__(self, batch: LatentBatch, distance: ImageDistance | None = None) -> Float64[Tensor, "batch 2"]:
        """The sum of squared errors of each sample, and their number; see :class:`GeneratorProbe`."""
        model, num = batch.model, len(batch.indices)
        generators = image_generators(mix_seed(batch.seed, "equivariance"), batch.indices)
        latents = batch.with_class(model.sample_latents(num, generator=generators))
        draws = uniform(num, 2, generator=generators, device=latents.device)
        measure = rotation_errors if self.movement == "eqr" else translation_errors
        side = model.image_shape[-1]
        shifts = (2 * draws - 1) * MAX_TRANSLATION * side
        amounts = {"eqt": shifts.round(), "eqt_frac": shifts, "eqr": 2 * math.pi * draws[:, 0]}[self.movement]
        with full_precision(latents.device):
            errors, mask = measure(lambda matrices: model.decode_transformed(latents, matrices), amounts, side)
            masked = (errors.nan_to_num(4.0, 4.0, 4.0).double() * mask).sum((1, 2, 3))
        return torch.stack([masked, mask.double().sum((1, 2, 3)) * errors.shape[1]], 1).cpu()


def translation_errors(generate: Callable[[Transforms], Images], shifts: Float[Tensor, "batch 2"], side: int) -> Errors:
    """Errors of images moved by ``shifts``, in pixels, in x and y."""
    expected, mask = translate(generate(identity(len(shifts), device=shifts.device)), shifts)
    moved = generate(translation(*(-shifts / side).T))
    return (expected - moved).square(), mask


def rotation_errors(generate: Callable[[Transforms], Images], angles: Float[Tensor, " batch"], side: int) -> Errors:
    """Errors of images rotated by ``angles``, in radians."""
    matrices = rotation(angles)
    images, moved = generate(identity(len(angles), device=angles.device)), generate(matrices)
    planes = matrices[:, :2, :2]
    expected = torch.stack([rotate(image, plane) for image, plane in zip(images, planes, strict=True)])
    filtered = torch.stack([pseudo_rotate(image, plane) for image, plane in zip(moved, planes, strict=True)])
    masks = torch.stack([rotation_mask(side, plane, ROTATION_MARGIN) for plane in planes])
    return (expected - filtered).square(), masks[:, None].to(images)


def decibels(name: str, errors: Float64[Tensor, "samples 2"]) -> Scores:
    """The ratio of the peak 2 squared and the mean squared error in decibels, and its standard error to first order.

    Args:
        name: name of the score.
        errors: the sum of squared errors of each sample, and their number.

    Returns:
        The score and ``<name>_sem``.
    """
    sums, counts = errors.T
    mean = (sums.sum() / counts.sum()).clamp(min=1e-20)
    deviations = (sums - mean * counts) / counts.mean()  # of a ratio of means
    error = 10 / math.log(10) * deviations.std() / math.sqrt(len(errors)) / mean
    return {name: 10 * math.log10(4 / mean.item()), f"{name}_sem": error.item()}


def equivariance(
    model: TransformableGenerator, movement: Movement, num: int, *, seed: int = 0, batch_size: int = 16
) -> Scores:
    """Measure a model's equivariance without a score card.

    Args:
        model: the model.
        movement: ``eqt``, ``eqt_frac`` or ``eqr``.
        num: number of samples.
        seed: seed of the samples.
        batch_size: number of images generated at once; it does not change the result.

    Returns:
        The score in decibels and its standard error, ``<movement>_sem``.

    Raises:
        InputError: if the model's input cannot be moved, or its images are too small.
    """
    probe = Equivariance(movement)
    probe.check(model)
    parts = [range(start, min(start + batch_size, num)) for start in range(0, num, batch_size)]
    return decibels(movement, torch.cat([probe(LatentBatch(model, seed, part)) for part in parts]))


def record(movement: Movement) -> Metric[FeatureInputs]:
    """The record of an equivariance in the table of metrics."""
    return Metric(
        movement,
        needs=frozenset({"generator"}),
        scores={movement: "higher", f"{movement}_sem": None},
        compute=lambda inputs: decibels(movement, inputs.per_image[movement]),
        probe=Equivariance(movement),
        min_images=2,
    )


EQUIVARIANCES = (record("eqt"), record("eqt_frac"), record("eqr"))
