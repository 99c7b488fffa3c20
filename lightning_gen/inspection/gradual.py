"""What inspections ask of a model that draws step by step, and how noise is measured and shown.

Noise is said as its share of an image: x_t = alpha x_0 + sigma e is, up to a factor,

    (1 - L) x_0 + L e,    L = sigma / (alpha + sigma)

so that 0.5 means the same for every process. Of straight paths, L is the time.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch

from lightning_gen.diffusion.processes import Process
from lightning_gen.diffusion.samplers import DrawNoise, Sampler, Timestep, make_timestep
from lightning_gen.errors import InputError
from lightning_gen.inspection.subject import Subject
from lightning_gen.noise import image_generators, mix_seed, randn
from lightning_gen.types import Classes, Images, ImageShape, Labels, SamplingOptions


@runtime_checkable
class StepwiseModel(Protocol):
    """A diffusion model or a flow."""

    image_shape: ImageShape
    process: Process
    sampling: SamplingOptions
    """How images are drawn, with nothing left open."""

    def timesteps(self, sampling: SamplingOptions) -> list[float]:
        """The times that drawing visits."""
        ...

    def all_timesteps(self) -> list[float]:
        """Times as close together as there is a use for."""
        ...

    def class_rows(self, labels: Labels | None, num: int) -> Classes | None:
        """Rows of the classes of images."""
        ...

    def sampler(self, classes: Classes | None, draw_noise: DrawNoise) -> AbstractContextManager[Sampler]:
        """The sampler, over the network that draws."""
        ...


def share_of_noise(point: Timestep) -> float:
    """L = sigma / (alpha + sigma), from 0, an image, to 1, pure noise."""
    return point.sigma / (point.alpha + point.sigma)


def displayed(noisy: Images, point: Timestep) -> Images:
    """(1 - L) x_0 + L e, which a picture can hold."""
    return noisy / (point.alpha + point.sigma)


def make_timesteps(model: StepwiseModel) -> list[Timestep]:
    """Where drawing goes, from noise to image.

    Args:
        model: the model, with its ``sampling``.

    Returns:
        The points; of an adaptive sampler, where it begins, and its end with and without noise.
    """
    return [make_timestep(model.process, time) for time in model.timesteps(model.sampling)]


def settings_of(model: StepwiseModel) -> dict[str, Any]:
    """How a model draws, for the numbers of findings: what is asked for or usual, by name."""
    return {name: value for name, value in vars(model.sampling).items() if value is not None}


def noise_for(subject: Subject, indices: Sequence[int], purpose: str = "") -> DrawNoise:
    """Noise of which that of image i is a function of (seed, purpose, i) alone.

    Args:
        subject: whose seed and image shape it is.
        indices: the images' numbers.
        purpose: a word, where one image needs several noises.

    Returns:
        A function that gives new noise at each call.
    """
    model = subject.model
    seed = mix_seed(subject.seed, purpose) if purpose else subject.seed
    generators = image_generators(seed, indices)
    return lambda: randn(len(generators), *model.image_shape, generator=generators, device=model.device)


def asked_labels(subject: Subject, labels: Sequence[int] | None, num: int) -> Labels | None:
    """The classes of images that are to be drawn.

    Args:
        subject: the model.
        labels: what was asked for, one class after the other; all classes in turn when None.
        num: how many images.

    Returns:
        The class of each image; None for an unconditional model.

    Raises:
        InputError: when the model is unconditional, or knows no such class.
    """
    known = subject.model.num_classes
    if not known:
        if labels is not None:
            raise InputError(f"--labels is given, and {subject.name} is not conditional; leave it out")
        return None
    if labels is not None and (not labels or not all(0 <= label < known for label in labels)):
        raise InputError(f"--labels is {labels}; the classes of this model are 0 to {known - 1}")
    chosen = torch.tensor(range(known) if labels is None else labels, device=subject.model.device)
    return chosen[torch.arange(num, device=chosen.device) % len(chosen)]
