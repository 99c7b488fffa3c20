"""Interpolation between latents."""

from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.drawing import GAP, Frames
from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Block, Findings, strip
from lightning_gen.inspection.latents import decode, encode
from lightning_gen.inspection.styles import Space, decode_styles, require_styles, styles_of
from lightning_gen.inspection.subject import Subject
from lightning_gen.noise import image_generators
from lightning_gen.paths import PathKind, latent_path
from lightning_gen.types import Decoder, Encoder, IterativeGenerator, LatentGenerator, Latents, StoredImages

Originals = UInt8[Tensor, "ends channels height width"]


def interpolate(
    subject: Subject,
    between: Literal["images", "latents"] | None = None,
    path: PathKind | None = None,
    space: Space = "z",
    rows: int = 8,
    columns: int = 10,
    frames: int = 16,
    split: Literal["train", "val", "test"] = "test",
) -> Findings:
    """Decode interpolations between latents of images or of the prior; the ends are exact.

    Args:
        subject: model and data.
        between: images (the first of the split, in pairs), or latents of the prior (default: images; latents if the
            model encodes no images or is iterative).
        path: linear or spherical (default: linear between images and in w; spherical between latents of the prior, and
            for an iterative model, whose latents are noise).
        space: z, the latents, or w, the styles of a style-based generator, between latents of the prior.
        rows: number of pairs.
        columns: number of images per row, including both ends.
        frames: number of frames of the animation from one end to the other, including both.
        split: the split of the images.

    Returns:
        Rows from one end to the other, with the original images at the sides; an animation of all rows, forward and
        backward; and, for each step, the change of the images (root mean square in [0, 1]) and the norm of the latents,
        averaged over the rows.

    Raises:
        InputError: if the model has no latents of that kind, or the split has fewer than two images.
    """
    check_at_least(1, prefix="--", rows=rows)
    check_at_least(2, prefix="--", columns=columns, frames=frames)
    iterative = isinstance(subject.model, IterativeGenerator)
    if space == "w":
        require_styles(subject)
        if between == "images":
            raise InputError("--space w is between latents of the prior; project finds the styles of images")
        between = "latents"
    between = between or ("images" if isinstance(subject.model, Encoder) and not iterative else "latents")
    is_straight = space == "w" or (between == "images" and not iterative)
    kind: PathKind = path or ("linear" if is_straight else "spherical")
    subject.require(Decoder, "decodes no latents")
    originals, ends = _image_ends(subject, split, rows) if between == "images" else (None, _prior_ends(subject, rows))
    num_classes = subject.model.num_classes
    if space == "w":
        ends, num_classes = styles_of(subject, ends), 0
    start, end, decoder = ends[0::2], ends[1::2], decode_styles if space == "w" else decode
    path_latents = latent_path(kind, start, end, columns, num_classes)
    images = decoder(subject, path_latents.flatten(0, 1))
    animation = decoder(subject, latent_path(kind, start, end, frames, num_classes).flatten(0, 1))
    rows_of_images = images.unflatten(0, (-1, columns)).double().div(255)
    change = rows_of_images.diff(dim=1).square().mean((2, 3, 4)).sqrt().mean(0).tolist()
    norm = path_latents.flatten(2).norm(dim=2).mean(0).tolist()
    ends_of = "styles" if space == "w" else between
    source = {"split": split} if between == "images" else {"seed": subject.seed}
    return Findings(
        _picture(images, columns, originals),
        {
            "between": between,
            "space": space,
            **source,
            "path": kind,
            "rows": len(start),
            "change": change,
            "norm": norm,
        },
        _forward_and_backward(animation, frames),
        (
            f"{kind} between {ends_of}: a step changes a pixel by {sum(change) / len(change):.3f} of its range (RMS), "
            f"the largest by {max(change):.3f}",
        ),
    )


def _image_ends(subject: Subject, split: str, rows: int) -> tuple[Originals, Latents]:
    """Pairs of consecutive images, and their latents."""
    subject.require(Encoder, "encodes no images; --between latents needs a prior only")
    batch = subject.first(split, 2 * rows)
    if len(batch.images) < 2:
        raise InputError(f"the {split} split has {len(batch.images)} image; an interpolation needs two")
    even = len(batch.images) // 2 * 2
    return to_uint8(batch.images[:even]).cpu(), encode(subject, batch)[:even]


def _prior_ends(subject: Subject, rows: int) -> Latents:
    """Pairs of consecutive latents of the prior."""
    subject.require(LatentGenerator, "has no prior over its latents; --between images needs an encoder only")
    return subject.model.sample_latents(2 * rows, generator=image_generators(subject.seed, range(2 * rows)))


def _picture(images: StoredImages, columns: int, originals: Originals | None) -> Block:
    """Rows of images, between the originals, if any."""
    rows = strip(images, columns)
    if originals is None:
        return rows
    ends = strip(originals, 2)
    side = ends.shape[2] // 2 + 1  # both halves include the line between them
    first, last = ends[..., :side], ends[..., -side:]
    gap = rows.new_full((3, rows.shape[1], GAP), 255)
    return torch.cat([first, gap, rows, gap, last], 2)


def _forward_and_backward(images: StoredImages, frames: int) -> Frames:
    """One frame per step, forward and then backward, so that the animation loops."""
    steps = images.unflatten(0, (-1, frames)).transpose(0, 1)  # (T, N, C, H, W)
    forward = [strip(step) for step in steps]
    return torch.stack(forward + forward[-2:0:-1])
