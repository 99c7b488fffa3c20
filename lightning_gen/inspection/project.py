"""Projection of images into the styles of a style-based generator (Karras et al. 2020, https://arxiv.org/abs/1912.04958).

    w* = argmin_w d(G(w), x)

The search starts at the average style m. With the progress t in [0, 1), Adam's learning rate rises linearly over the
first 5 % of the steps and falls as a cosine over the last 25 %, and until t = 0.75 noise of the standard deviation
0.05 s (1 - t / 0.75)^2 is added to w, where s^2 = E |w - m|^2 (appendix D). All layers share one w, or have their own
(W+; Abdal et al. 2019, https://arxiv.org/abs/1904.03189).
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.checks import check_above, check_at_least
from lightning_gen.evaluation import Lpips, LpipsDistance, classifier_file
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.styles import require_styles, sample_styles
from lightning_gen.inspection.subject import Subject
from lightning_gen.losses.image_quality import mse, psnr
from lightning_gen.losses.perceptual import feature_distance
from lightning_gen.networks.features import LAYERS, FeatureKind, load_features
from lightning_gen.noise import image_generators, mix_seed, randn
from lightning_gen.types import Images, RandomSource, Styles

RAMP_UP, RAMP_DOWN = 0.05, 0.25
"""Shares of the steps in which the learning rate rises and falls."""
NOISE, NOISE_END = 0.05, 0.75
"""Standard deviation of the first step's noise in units of the styles', and the share of the steps that have noise."""
NUM_STYLES = 1000
"""Number of latents from which the spread of the styles is estimated."""
SHOWN = (0.0, 0.1, 0.25, 0.5)
"""Shares of the steps after which images are shown, before the final ones."""

Space = Literal["w", "w+"]
Measure = Literal["pixels", "features", "lpips"]
Distance = Callable[[Images, Images], Float[Tensor, ""]]
"""The mean distance of pairs of images, with gradients."""


def project(
    subject: Subject,
    by: Measure = "features",
    space: Space = "w",
    num: int = 6,
    iterations: int = 300,
    lr: float = 0.1,
    split: Literal["train", "val", "test"] = "test",
    lpips_weights: Path | None = None,
) -> Findings:
    """Find the styles whose images are nearest to given images.

    Args:
        subject: model and data.
        by: the distance: pixels (squared error), features (of the classifier of labelled data, otherwise of
            EfficientNet-Lite0, plus the squared error), or lpips (plus the squared error).
        space: w, one style for all layers, or w+, one for each layer.
        num: number of images, from the start of the split.
        iterations: number of optimisation steps.
        lr: largest learning rate of Adam.
        split: the split of the images.
        lpips_weights: a file of torchvision's AlexNet weights, for lpips.

    Returns:
        A row per image: the target, the images after the numbers of steps above the columns, and the PSNR of the last;
        and the mean distance and the PSNR over the search.

    Raises:
        InputError: if the model has no styles, or the distance is unavailable.
    """
    check_at_least(1, prefix="--", num=num, iterations=iterations)
    check_above(0, prefix="--", lr=lr)
    require_styles(subject)
    targets = subject.first(split, num).images
    average = subject.model.style_average
    spread = (sample_styles(subject, 0, NUM_STYLES) - average).square().sum(2).mean().sqrt().item()
    rows = subject.model.num_styles if space == "w+" else 1
    schedule = Schedule(iterations, lr, NOISE * spread)
    generators = image_generators(mix_seed(subject.seed, "projection"), range(len(targets)))
    with torch.inference_mode(False), torch.enable_grad():  # autograd accepts no tensors of inference mode
        start = average.clone().expand(len(targets), rows, -1)
        wanted, distance = targets.clone(), make_distance(subject, by, lpips_weights)
        found, distances = search_styles(
            lambda styles: subject.model.decode_styles(styles.expand(-1, subject.model.num_styles, -1)),
            lambda images: distance(images, wanted),
            start,
            schedule,
            generators,
        )
    shown = schedule.shown
    truth = to_uint8(targets).cpu()
    images = [to_uint8(part).cpu() for part in found]
    psnrs = [psnr(mse(image, truth, "image")).tolist() for image in images]
    final = psnrs[-1]
    cells = [[strip(image.unsqueeze(0)) for image in row] for row in zip(truth, *images, strict=True)]
    heads = ["target", *(str(step) for step in shown)]
    numbers: dict[str, Any] = {
        "split": split,
        "by": by,
        "space": space,
        "steps": shown,
        "distance": distances,
        "psnr": psnrs,
    }
    summary = (
        f"{len(truth)} images of {split} in {space} by {by}: distance {distances[0]:.4g} at the average style, "
        f"{distances[-1]:.4g} after {iterations} steps; PSNR {sum(final) / len(final):.2f} dB",
    )
    return Findings(table(cells, [f"{value:.1f} dB" for value in final], heads), numbers, summary=summary)


class Schedule(NamedTuple):
    """Learning rate and noise of a search.

    Attributes:
        steps: number of steps.
        lr: largest learning rate.
        noise: standard deviation of the first step's noise.
    """

    steps: int
    lr: float
    noise: float

    @property
    def shown(self) -> list[int]:
        """The steps after which images are shown."""
        return sorted({round(share * self.steps) for share in SHOWN} | {self.steps})

    def lr_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        progress = step / self.steps
        fall = min(1.0, (1 - progress) / RAMP_DOWN)
        return self.lr * (0.5 - 0.5 * math.cos(math.pi * fall)) * min(1.0, (progress + 1 / self.steps) / RAMP_UP)

    def noise_at(self, step: int) -> float:
        """The standard deviation of the noise of a step."""
        return self.noise * max(0.0, 1 - step / self.steps / NOISE_END) ** 2


def search_styles(
    decode: Callable[[Styles], Images],
    distance: Callable[[Images], Float[Tensor, ""]],
    start: Styles,
    schedule: Schedule,
    generator: RandomSource,
) -> tuple[list[Images], list[float]]:
    """Minimise the mean distance of images by Adam.

    Args:
        decode: maps styles to images, with gradients.
        distance: the mean distance of images from their targets.
        start: the first styles.
        schedule: learning rate and noise.
        generator: source of the noise.

    Returns:
        The images at the steps of ``schedule.shown``, and their distances.
    """
    styles = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([styles])
    images: list[Images] = []
    distances: list[float] = []
    for step in range(schedule.steps + 1):
        if step in schedule.shown:
            images.append(decode(styles).detach())
            distances.append(distance(images[-1]).item())
        if step == schedule.steps:
            break
        noise = schedule.noise_at(step) * randn(*styles.shape, generator=generator, device=styles.device)
        loss = len(styles) * distance(decode(styles + noise))  # a sum, so that images do not depend on their number
        [styles.grad] = torch.autograd.grad(loss, [styles])
        optimizer.param_groups[0]["lr"] = schedule.lr_at(step)
        optimizer.step()
    return images, distances


def make_distance(subject: Subject, by: Measure, lpips_weights: Path | None) -> Distance:
    """The mean distance of pairs of images, with gradients.

    Args:
        subject: model and data.
        by: the kind of distance.
        lpips_weights: file of AlexNet's weights.

    Returns:
        The distance.

    Raises:
        InputError: if there are no weights, or the images are too small.
    """
    if by == "pixels":
        return mse
    if by == "lpips":
        lpips = Lpips(lpips_weights, subject.model.device)
        LpipsDistance(lpips).check(subject.model.image_shape)
        return lambda images, targets: lpips.distance(images, targets).mean().float() + mse(images, targets)
    kind: FeatureKind = "classifier" if subject.data.num_classes else "efficientnet_lite0"
    weights = str(classifier_file(subject.data)) if kind == "classifier" else None
    network = load_features(kind, LAYERS[kind], subject.model.image_shape, weights).to(subject.model.device)
    ones = [1.0] * len(LAYERS[kind])
    return lambda images, targets: feature_distance(network(images), network(targets), ones) + mse(images, targets)
