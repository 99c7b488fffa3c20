"""The trajectory of sampling from noise to image.

Noise is measured by its level L = sigma / (alpha + sigma): up to a factor, x_t = alpha x_0 + sigma e is (1 - L) x_0 + L
e, so that 0.5 has the same meaning for every process. For straight paths, L is the time.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.diffusion.processes import Process
from lightning_gen.diffusion.samplers import DrawNoise, Sampler, Timestep, make_timestep
from lightning_gen.drawing import Frames
from lightning_gen.errors import InputError
from lightning_gen.evaluation import describe_sampling
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Block, Findings, strip, table
from lightning_gen.inspection.subject import Subject
from lightning_gen.losses.image_quality import mse
from lightning_gen.noise import image_generators, mix_seed, randn
from lightning_gen.types import Classes, Images, ImageShape, Labels, SamplingOptions, StoredImages


@runtime_checkable
class DenoisingModel(Protocol):
    """A diffusion model or a flow."""

    image_shape: ImageShape
    process: Process
    sampling: SamplingOptions
    """The resolved options of sampling."""

    def timesteps(self, sampling: SamplingOptions) -> list[float]:
        """The times of sampling."""
        ...

    def all_timesteps(self) -> list[float]:
        """Times that resolve the process."""
        ...

    def class_rows(self, labels: Labels | None, num: int) -> Classes | None:
        """Class rows of images."""
        ...

    def sampler(self, classes: Classes | None, draw_noise: DrawNoise) -> AbstractContextManager[Sampler]:
        """The sampler, bound to the inference network."""
        ...


def noise_level(at: Timestep) -> float:
    """L = sigma / (alpha + sigma), from 0, an image, to 1, pure noise."""
    return at.sigma / (at.alpha + at.sigma)


def rescale_noisy(noisy: Images, at: Timestep) -> Images:
    """(1 - L) x_0 + L e, which is about in the range of images."""
    return noisy / (at.alpha + at.sigma)


def sampling_timesteps(model: DenoisingModel) -> list[Timestep]:
    """The time steps of sampling; for an adaptive sampler the first, the lowest with noise, and the last."""
    return [make_timestep(model.process, time) for time in model.timesteps(model.sampling)]


def sampling_settings(model: DenoisingModel) -> dict[str, Any]:
    """The options of sampling by name, for the numbers of findings."""
    return {name: value for name, value in vars(model.sampling).items() if value is not None}


def noise_source(subject: Subject, indices: Sequence[int], purpose: str = "") -> DrawNoise:
    """A source of noise, where that of image i is a function of (seed, purpose, i).

    Args:
        subject: model and seed.
        indices: indices of the images.
        purpose: a word that separates several sources of one image.

    Returns:
        A function that returns fresh noise at each call.
    """
    model = subject.model
    seed = mix_seed(subject.seed, purpose) if purpose else subject.seed
    generators = image_generators(seed, indices)
    return lambda: randn(len(generators), *model.image_shape, generator=generators, device=model.device)


def requested_labels(subject: Subject, labels: Sequence[int] | None, num: int) -> Labels | None:
    """Labels of images to generate.

    Args:
        subject: the model.
        labels: classes that are used in turn; None for all classes.
        num: number of images.

    Returns:
        The label of each image; None for an unconditional model.

    Raises:
        InputError: if labels are given to an unconditional model, or one is out of range.
    """
    num_classes = subject.model.num_classes
    if not num_classes:
        if labels is not None:
            raise InputError(f"--labels is given, and {subject.name} is not conditional; leave it out")
        return None
    if labels is not None and (not labels or not all(0 <= label < num_classes for label in labels)):
        raise InputError(f"--labels is {labels}; the classes of this model are 0 to {num_classes - 1}")
    chosen = torch.tensor(range(num_classes) if labels is None else labels, device=subject.model.device)
    return chosen[torch.arange(num, device=chosen.device) % len(chosen)]


Stages = UInt8[Tensor, "stages images channels height width"]
ROWS = ("noisy", "denoised")
MAX_STEPS = 50
"""Maximum number of steps in the animation."""
NUM_FRAMES = 50
"""Approximate number of frames; with few steps, each is repeated."""
LAST_FRAMES = 15
"""Number of times that the last frame is repeated."""


class Trajectory(NamedTuple):
    """The noisy and the denoised images at some of the steps."""

    noisy: Stages
    clean: Stages


def denoising(subject: Subject, num: int = 6, columns: int = 11, labels: list[int] | None = None) -> Findings:
    """Show the noisy images x and the denoised images D(x) along the trajectory of sampling.

    Noise is given by its level L, where x is, up to a factor, (1 - L) x_0 + L e, so that columns are comparable between
    models. A conditional model generates its classes in turn, or those in labels.

    Args:
        subject: model and data.
        num: number of images.
        columns: maximum number of steps in the picture, evenly spaced, including the first and the last.
        labels: classes to generate, used in turn; for conditional models.

    Returns:
        A block of noisy and one of denoised images, with one row per image and one column per step; an animation of
        both; and for each column the noise level and the distance of the denoised images from the final ones (root mean
        square in [0, 1]).

    Raises:
        InputError: if the model is not iterative, or its sampler is adaptive.
    """
    check_at_least(1, prefix="--", num=num)
    check_at_least(2, prefix="--", columns=columns)
    subject.require(DenoisingModel, "does not generate images iteratively")
    classes = requested_labels(subject, labels, num)
    steps = sampling_timesteps(subject.model)
    in_picture, in_animation = evenly_spaced(len(steps), columns), evenly_spaced(len(steps), MAX_STEPS)
    needed = sorted({*in_picture, *in_animation})
    parts = [
        sample_trajectory(subject, indices, classes, needed)
        for indices in (range(num)[i : i + subject.batch_size] for i in range(0, num, subject.batch_size))
    ]
    trajectory = Trajectory(*(torch.cat(stages, 1) for stages in zip(*parts, strict=True)))
    position = {step: i for i, step in enumerate(needed)}
    noise = [noise_level(steps[step]) for step in in_picture]
    heads = [f"{level:.0%}" for level in noise]
    chosen = [position[step] for step in in_picture]
    blocks = [[strip(stages[i], 1) for i in chosen] for stages in trajectory]
    distance = [mse(trajectory.clean[i], trajectory.noisy[-1]).sqrt().item() for i in chosen]
    middle = min(range(len(noise)), key=lambda i: abs(noise[i] - 0.5))
    return Findings(
        table(blocks, ROWS, heads),
        {"num": num, "seed": subject.seed, **sampling_settings(subject.model), "noise": noise, "distance": distance},
        animate(
            trajectory, [position[step] for step in in_animation], [noise_level(steps[step]) for step in in_animation]
        ),
        (
            f"{num} images by {describe_sampling(subject.model.sampling)}",
            f"denoised images are {distance[0]:.3f} from the final ones (RMS in [0, 1]) at {heads[0]} noise, "
            f"{distance[middle]:.3f} at {heads[middle]}",
        ),
    )


def sample_trajectory(subject: Subject, indices: range, labels: Labels | None, needed: Collection[int]) -> Trajectory:
    """Generate images, and keep them at some of the steps.

    Args:
        subject: a ``DenoisingModel``.
        indices: indices of the images.
        labels: labels of all images, or None.
        needed: indices of the steps to keep.

    Returns:
        The images at these steps.

    Raises:
        InputError: if the sampler is adaptive.
    """
    model, draw_noise = subject.model, noise_source(subject, indices)
    steps = sampling_timesteps(model)
    classes = model.class_rows(None if labels is None else labels[indices.start : indices.stop], len(indices))
    stages: tuple[list[StoredImages], list[StoredImages]] = [], []
    with model.sampler(classes, draw_noise) as sampler:
        if not sampler.fixed_timesteps:
            raise InputError(
                f"the sampler {model.sampling.sampler} chooses its own steps for each image; to see steps, use "
                "another, e.g. euler"
            )
        noisy = steps[0].sigma * draw_noise()
        walk = sampler.walk(noisy, [step.time for step in steps])
        for index, step in enumerate(steps):
            if index:
                noisy = next(walk)
            if index in needed:
                # a sampler may evaluate D at other points, as Heun's method does
                times = noisy.new_full((len(noisy),), step.time)
                clean = sampler.denoise(noisy, times) if step.sigma > 0 else noisy
                for kept, images in zip(stages, (rescale_noisy(noisy, step), clean), strict=True):
                    kept.append(to_uint8(images).cpu())
    return Trajectory(*map(torch.stack, stages))


def evenly_spaced(num: int, at_most: int) -> list[int]:
    """At most ``at_most`` evenly spaced indices below ``num``, including 0 and num - 1."""
    kept = min(num, at_most)
    return [round(i * (num - 1) / (kept - 1)) for i in range(kept)]


def animate(trajectory: Trajectory, stages: list[int], noise: list[float]) -> Frames:
    """Frames with the noisy above the denoised images.

    Args:
        trajectory: the images.
        stages: indices of the steps in the animation.
        noise: noise level of each step.

    Returns:
        The frames.
    """

    def frame(stage: int, level: float) -> Block:
        return table([[strip(images[stage])] for images in trajectory], ROWS, [f"{level:.0%} noise"])

    times = max(1, round(NUM_FRAMES / len(stages)))
    pictures = [frame(stage, level) for stage, level in zip(stages, noise, strict=True)]
    return torch.stack([picture for picture in pictures for _ in range(times)] + [pictures[-1]] * LAST_FRAMES)
