"""Images on the way from one latent to another."""

from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from lightning_gen.inspection.codes import decode, encode
from lightning_gen.inspection.findings import Findings, Frames
from lightning_gen.inspection.options import at_least
from lightning_gen.inspection.panels import GAP, Block, strip
from lightning_gen.inspection.subject import Subject
from lightning_gen.noise import image_generators
from lightning_gen.paths import PathKind, latent_path
from lightning_gen.types import Decoder, Encoder, GradualSampler, Latents, LatentSampler, StoredImages

Originals = UInt8[Tensor, "ends channels height width"]


def interpolate(
    subject: Subject,
    between: Literal["images", "latents"] | None = None,
    path: PathKind | None = None,
    rows: int = 8,
    columns: int = 10,
    frames: int = 16,
    split: Literal["train", "val", "test"] = "test",
) -> Findings:
    """Decode what lies on the way between latents, of images or of the prior; the ends are exact.

    Args:
        subject: model and data.
        between: images, the first of the split, the first to the second, the third to the fourth and so on; or latents
            of the prior. Images when not given, or latents where the model encodes none or draws step by step.
        path: linear or spherical; when not given, linear between images, and spherical between latents of the prior or
            in a model that draws step by step, whose images' latents are noise, too.
        rows: pairs of ends.
        columns: decoded images in a row, both ends included.
        frames: pictures of the animation from one end to the other, both included.
        split: where the images come from.

    Returns:
        Rows from one end to the other, between images with the images themselves at their sides; an animation of all
        rows side by side, forth and back; and, for each step, how much the images change (root mean square in [0, 1])
        and the norm of the latents, both as means over the rows.

    Raises:
        InputError: when the model has no latents of that kind, or there is nothing to show.
    """
    at_least(1, rows=rows)
    at_least(2, columns=columns, frames=frames)
    stepwise = isinstance(subject.model, GradualSampler)
    between = between or ("images" if isinstance(subject.model, Encoder) and not stepwise else "latents")
    kind: PathKind = path or ("linear" if between == "images" and not stepwise else "spherical")
    subject.need(Decoder, "decodes no latents")
    originals, ends = _image_ends(subject, split, rows) if between == "images" else (None, _prior_ends(subject, rows))
    start, end, num_classes = ends[0::2], ends[1::2], subject.model.num_classes
    way = latent_path(kind, start, end, columns, num_classes)
    images = decode(subject, way.flatten(0, 1))
    moving = decode(subject, latent_path(kind, start, end, frames, num_classes).flatten(0, 1))
    rows_of_images = images.unflatten(0, (-1, columns)).double().div(255)
    change = rows_of_images.diff(dim=1).square().mean((2, 3, 4)).sqrt().mean(0).tolist()
    norm = way.flatten(2).norm(dim=2).mean(0).tolist()
    source = {"split": split} if between == "images" else {"seed": subject.seed}
    return Findings(
        _picture(images, columns, originals),
        {"between": between, **source, "path": kind, "rows": len(start), "change": change, "norm": norm},
        _there_and_back(moving, frames),
        (
            f"{kind} between {between}: a step changes a pixel by {sum(change) / len(change):.3f} of its range (RMS), "
            f"the largest by {max(change):.3f}",
        ),
    )


def _image_ends(subject: Subject, split: str, rows: int) -> tuple[Originals, Latents]:
    """Pairs of images, one after the other, and their latents."""
    subject.need(Encoder, "encodes no images; --between latents asks for a prior only")
    batch = subject.first(split, 2 * rows)
    if len(batch.images) < 2:
        raise InputError(f"the {split} split has {len(batch.images)} image; an interpolation needs two")
    even = len(batch.images) // 2 * 2
    return to_uint8(batch.images[:even]).cpu(), encode(subject, batch)[:even]


def _prior_ends(subject: Subject, rows: int) -> Latents:
    """Pairs of latents, one after the other."""
    subject.need(LatentSampler, "has no prior over its latents; --between images asks for an encoder only")
    return subject.model.sample_latents(2 * rows, generator=image_generators(subject.seed, range(2 * rows)))


def _picture(images: StoredImages, columns: int, originals: Originals | None) -> Block:
    """Rows of images, between the originals where there are such."""
    way = strip(images, columns)
    if originals is None:
        return way
    ends = strip(originals, 2)
    side = ends.shape[2] // 2 + 1  # the line between the two belongs to both
    first, last = ends[..., :side], ends[..., -side:]
    gap = way.new_full((3, way.shape[1], GAP), 255)
    return torch.cat([first, gap, way, gap, last], 2)


def _there_and_back(images: StoredImages, frames: int) -> Frames:
    """One picture a step with the rows side by side, forth and then back, so that the last leads to the first."""
    steps = images.unflatten(0, (-1, frames)).transpose(0, 1)  # (T, N, C, H, W)
    there = [strip(step) for step in steps]
    return torch.stack(there + there[-2:0:-1])
