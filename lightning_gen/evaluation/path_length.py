r"""Perceptual path length: how much an image changes along a path between two latents.

    PPL = E[ d(G(p(t)), G(p(t + eps))) / eps^2 ],    eps = 1e-4

(Karras et al. 2019, https://arxiv.org/abs/1812.04948, equations 2 and 3) with paths p between two samples of the
latents:

    ppl_zfull   arcs in z,             t ~ U(0, 1)        ppl_wfull   lines in w,   t ~ U(0, 1)
    ppl_zend    arcs in z,             t = 0              ppl_wend    lines in w,   t = 0

d is quadratic in small changes, so that the quotient converges to the squared length of the derivative. The smallest
and the largest percent of the quotients are left out, as in the published code. Both images have the same constant
noise and, of a class-conditional model, the same class; they are float32 and are not rounded. Pair i is a function of
(seed, i).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from lightning_gen.errors import InputError
from lightning_gen.evaluation.distance import ImageDistance
from lightning_gen.evaluation.metric_record import FeatureInputs, LatentBatch, Metric, Scores, mean_and_error
from lightning_gen.noise import image_generators, mix_seed, uniform
from lightning_gen.paths import PathKind, path_points
from lightning_gen.truncation import truncated_styles
from lightning_gen.types import Images, LatentGenerator, Latents, StyleMapper

EPSILON = 1e-4
"""Distance of the two points of a pair on the path, whose length is 1."""
PERCENTILES = (1, 99)
"""Quotients below the first and above the second percentile are left out."""

Space = Literal["z", "w"]
Position = Literal["full", "end"]


class PathLength:
    """The quotients d / eps^2 of pairs of a model's images.

    Args:
        space: ``z``, the latents of any generator, or ``w``, the styles of a style-based one, with the model's
            truncation.
        position: ``full``: anywhere on the path; ``end``: at its start.
    """

    def __init__(self, space: Space, position: Position) -> None:
        self.space = space
        self.position = position
        self.name = f"ppl_{space}{position}"

    def check(self, model: object) -> None:
        """Check that a model has such latents, in float32; see :class:`GeneratorProbe`."""
        name = type(model).__name__
        if self.space == "w" and not isinstance(model, StyleMapper):
            raise InputError(
                f"{self.name} is of the styles w of StyleGAN, and {name} has none; use ppl_z{self.position}"
            )
        if not isinstance(model, LatentGenerator):
            raise InputError(f"{self.name} needs a model that generates images from latents, and {name} does not")
        parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
        dtype = next((parameter.dtype for parameter in parameters), torch.float32)
        if dtype.itemsize < torch.float32.itemsize:
            raise InputError(f"{self.name} compares nearly equal images, which needs float32 weights, not {dtype}")

    def note(self, distance: ImageDistance) -> str:
        """Describe the metric; see :class:`GeneratorProbe`."""
        low, high = PERCENTILES
        return (
            f"path lengths: {distance.note}, eps {EPSILON:g}, without the lowest {low} % and the highest {100 - high} %"
        )

    def __call__(self, batch: LatentBatch, distance: ImageDistance) -> Float64[Tensor, " batch"]:
        """The quotient of each pair; see :class:`GeneratorProbe`."""
        model, num = batch.model, len(batch.indices)
        generators = image_generators(mix_seed(batch.seed, "path length"), batch.indices)
        start = batch.with_class(model.sample_latents(num, generator=generators))
        end = batch.with_class(model.sample_latents(num, generator=generators))
        times = uniform(num, 1, generator=generators, device=start.device).double()
        if self.position == "end":
            times = torch.zeros_like(times)
        with full_precision(start.device):
            if self.space == "w":
                start, end = truncated_styles(model, start), truncated_styles(model, end)
                return path_quotients(model.decode_styles, "linear", start, end, times, distance)
            return path_quotients(model.decode, "spherical", start, end, times, distance, batch.num_classes)


def path_quotients(
    decode: Callable[[Latents], Images],
    kind: PathKind,
    start: Latents,
    end: Latents,
    times: Float64[Tensor, "batch 1"],
    distance: ImageDistance,
    num_classes: int = 0,
) -> Float64[Tensor, " batch"]:
    """The quotient d / eps^2 of the images of two points of each path.

    Args:
        decode: maps latents to images.
        kind: the path between the latents.
        start: latents where the paths start.
        end: latents where they end.
        times: position of the first point on each path, in [0, 1).
        distance: the distance of images.
        num_classes: the number of last entries of a latent that are a one-hot class.

    Returns:
        One value per path, on the CPU.
    """
    pairs = torch.cat([times, times + EPSILON], 1)
    points = path_points(kind, start.double(), end.double(), pairs, num_classes).to(start.dtype)  # (N, 2, ...)
    images = decode(points.transpose(0, 1).flatten(0, 1)).float().nan_to_num(0.0, 0.0, 0.0)
    return distance(*images.chunk(2)) / EPSILON**2


def trimmed_mean(name: str) -> Callable[[FeatureInputs], Scores]:
    """The mean of a metric's values between the two ``PERCENTILES``, both included, and its standard error."""

    def compute(inputs: FeatureInputs) -> Scores:
        values = inputs.per_image[name]
        low = torch.quantile(values, PERCENTILES[0] / 100, interpolation="lower")
        high = torch.quantile(values, PERCENTILES[1] / 100, interpolation="higher")
        return mean_and_error(name, values[(values >= low) & (values <= high)])

    return compute


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in float32 inside the block, without autocast and TF32, whose rounding exceeds the differences.

    Args:
        device: device of the computation.

    Yields:
        Nothing.
    """
    matmul = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.backends.cudnn.flags(
                enabled=torch.backends.cudnn.enabled,
                benchmark=torch.backends.cudnn.benchmark,
                deterministic=torch.backends.cudnn.deterministic,
                allow_tf32=False,
            ),
            torch.autocast(device.type, enabled=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)


def record(name: str, probe: PathLength) -> Metric[FeatureInputs]:
    """The record of a path length in the table of metrics; the command line reads the names from this file."""
    return Metric(
        name,
        needs=frozenset({"generator", "distance"}),
        scores={name: "lower", f"{name}_sem": None},
        compute=trimmed_mean(name),
        probe=probe,
        min_images=2,
    )


PATH_LENGTHS = (
    record("ppl_zfull", PathLength("z", "full")),
    record("ppl_zend", PathLength("z", "end")),
    record("ppl_wfull", PathLength("w", "full")),
    record("ppl_wend", PathLength("w", "end")),
)
