"""The way from noise to image."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from lightning_gen.diffusion.processes import Process
from lightning_gen.diffusion.samplers import DrawNoise, Sampler, Timestep, make_timestep
from lightning_gen.errors import InputError
from lightning_gen.evaluation import describe_sampling
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Block, Findings, Frames, strip, table
from lightning_gen.inspection.subject import Subject, at_least
from lightning_gen.noise import image_generators, mix_seed, randn
from lightning_gen.types import Classes, Images, ImageShape, Labels, SamplingOptions, StoredImages


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


Stages = UInt8[Tensor, "stages images channels height width"]
ROWS = ("noisy", "denoised")
MOST_FRAMES = 50
"""Steps of the animation, at most."""
FRAMES = 50
"""Pictures of the animation, about: of few steps each is shown for several."""
HELD = 15
"""Pictures for which the last is held besides."""


class Way(NamedTuple):
    """What images were at some of the steps, and what the denoiser took them for."""

    noisy: Stages
    clean: Stages


def denoising(subject: Subject, num: int = 6, columns: int = 11, labels: list[int] | None = None) -> Findings:
    """Show the way from noise to image: the noisy images x and the denoised ones D(x) along it.

    Noise is said as its share L of an image, x being (1 - L) x_0 + L e but for a factor, so that the columns of all
    models mean the same. A conditional model draws its classes in turn, unless told which.

    Args:
        subject: model and data.
        num: how many images.
        columns: steps in the picture at most, evenly chosen, both ends included.
        labels: classes to draw, used in turn; for conditional models.

    Returns:
        A block of noisy and one of denoised images, a row an image and a column a step; an animation of both; and for
        each column the share of noise, and how far the denoised images are from the final ones (root mean square in
        [0, 1]).

    Raises:
        InputError: when the model does not draw step by step, or chooses its own steps.
    """
    at_least(1, num=num)
    at_least(2, columns=columns)
    subject.need(StepwiseModel, "does not draw step by step, so that there is no way to show")
    classes = asked_labels(subject, labels, num)
    points = make_timesteps(subject.model)
    in_picture, in_motion = evenly(len(points), columns), evenly(len(points), MOST_FRAMES)
    wanted = sorted({*in_picture, *in_motion})
    parts = [
        walked(subject, indices, classes, wanted)
        for indices in (range(num)[i : i + subject.batch_size] for i in range(0, num, subject.batch_size))
    ]
    way = Way(*(torch.cat(stages, 1) for stages in zip(*parts, strict=True)))
    place = {step: i for i, step in enumerate(wanted)}
    noise = [share_of_noise(points[step]) for step in in_picture]
    heads = [f"{share:.0%}" for share in noise]
    chosen = [place[step] for step in in_picture]
    blocks = [[strip(stages[i], 1) for i in chosen] for stages in way]
    distance = [(way.clean[i].double() - way.noisy[-1].double()).div(255).square().mean().sqrt().item() for i in chosen]
    middle = min(range(len(noise)), key=lambda i: abs(noise[i] - 0.5))
    return Findings(
        table(blocks, ROWS, heads),
        {"num": num, "seed": subject.seed, **settings_of(subject.model), "noise": noise, "distance": distance},
        moving(way, [place[step] for step in in_motion], [share_of_noise(points[step]) for step in in_motion]),
        (
            f"{num} images by {describe_sampling(subject.model.sampling)}",
            f"denoised images are {distance[0]:.3f} from the final ones (RMS in [0, 1]) at {heads[0]} noise, "
            f"{distance[middle]:.3f} at {heads[middle]}",
        ),
    )


def walked(subject: Subject, indices: range, labels: Labels | None, wanted: Collection[int]) -> Way:
    """Draw some images, and keep what they are on the way.

    Args:
        subject: a ``StepwiseModel``.
        indices: the images' numbers.
        labels: the classes of all images, or None.
        wanted: numbers of the places on the way that are kept, of which the last is the image.

    Returns:
        The images at these places.

    Raises:
        InputError: when the sampler chooses its own steps.
    """
    model, draw = subject.model, noise_for(subject, indices)
    points = make_timesteps(model)
    classes = model.class_rows(None if labels is None else labels[indices.start : indices.stop], len(indices))
    stages: tuple[list[StoredImages], list[StoredImages]] = [], []
    with model.sampler(classes, draw) as sampler:
        if not sampler.fixed_timesteps:
            raise InputError(
                f"the sampler {model.sampling.sampler} chooses its own steps for each image; to see steps, take "
                "another, e.g. euler"
            )
        noisy = points[0].sigma * draw()
        walk = sampler.walk(noisy, [point.time for point in points])
        for place, point in enumerate(points):
            if place:
                noisy = next(walk)
            if place in wanted:
                # D is asked anew: on the way a sampler may ask it elsewhere, as Heun's does
                times = noisy.new_full((len(noisy),), point.time)
                clean = sampler.denoise(noisy, times) if point.sigma > 0 else noisy
                for kept, images in zip(stages, (displayed(noisy, point), clean), strict=True):
                    kept.append(to_uint8(images).cpu())
    return Way(*map(torch.stack, stages))


def evenly(num: int, at_most: int) -> list[int]:
    """Numbers out of 0 ... num - 1, as evenly as can be, both ends included."""
    kept = min(num, at_most)
    return [round(i * (num - 1) / (kept - 1)) for i in range(kept)]


def moving(way: Way, stages: list[int], noise: list[float]) -> Frames:
    """The images side by side, noisy above denoised, one stage after the other.

    Args:
        way: the images.
        stages: which are shown.
        noise: the share of noise of each.

    Returns:
        The pictures, each as often as makes the animation last, and the last for longer.
    """

    def frame(stage: int, share: float) -> Block:
        return table([[strip(images[stage])] for images in way], ROWS, [f"{share:.0%} noise"])

    times = max(1, round(FRAMES / len(stages)))
    pictures = [frame(stage, share) for stage, share in zip(stages, noise, strict=True)]
    return torch.stack([picture for picture in pictures for _ in range(times)] + [pictures[-1]] * HELD)
