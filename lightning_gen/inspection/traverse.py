"""The effect of each latent dimension."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.latents import decode, encode, encode_split, prior_mean, with_class, without_class
from lightning_gen.inspection.style_directions import traverse_styles
from lightning_gen.inspection.styles import Space
from lightning_gen.inspection.subject import Subject
from lightning_gen.types import Decoder, Encoder, LatentGenerator, Latents, StoredImages

ACTIVE = 0.01
"""A unit is active if the variance of its encoding over the images exceeds this (Burda et al. 2016)."""


def traverse(
    subject: Subject,
    rows: int = 16,
    columns: int = 11,
    limit: float = 2.5,
    at: Literal["image", "mean"] | None = None,
    image: int = 0,
    label: int | None = None,
    split: Literal["train", "val", "test"] = "test",
    num: int = 1000,
    space: Space = "z",
    layers: list[int] | None = None,
) -> Findings:
    """Move one latent dimension at a time over its range, the most active dimensions first.

    The activity of a dimension u is A_u = Var_x(E_q(u|x)[u]), the variance of its encoding over images (Burda et al.
    2016, https://arxiv.org/abs/1509.00519); under a standard normal prior, units above 0.01 are active. If the model
    encodes no images, dimensions are ordered by their effect: the standard deviation of a pixel in [0, 1] over the
    range.

    In w, the styles of a style-based generator, the rows are the principal directions of the styles of ``num`` latents
    (GANSpace; Harkonen et al. 2020, https://arxiv.org/abs/2004.02546), around their mean.

    Args:
        subject: model and data.
        rows: maximum number of dimensions in the picture.
        columns: number of images per row.
        limit: range to either side, in standard deviations of the standard normal prior (of the latents around their
            mean, without a prior).
        at: values of the other dimensions: the latents of an image, or the mean of the prior (of the latents, without a
            prior). Default: image, or mean if the model encodes no images.
        image: index of the image in the split.
        label: the class of a conditional model (default: that of the image; 0 at the mean).
        split: the split of the image, and of the images of the activity.
        num: number of images of the activity, evenly spaced over the split; in w, number of latents.
        space: z, the latents, or w, the styles.
        layers: in w, indices of the layers whose styles move, 0 the coarsest (default: all).

    Returns:
        A row per dimension with its activity or effect; those of all dimensions, and the number of active ones. In w, a
        row per direction with its share of the variance of the styles.

    Raises:
        InputError: if the model has no latents, or an option is out of range.
    """
    check_at_least(0, prefix="--", image=image)
    check_at_least(1, prefix="--", rows=rows)
    check_at_least(2, prefix="--", columns=columns, num=num)
    if not 0 < limit < math.inf:
        raise InputError(f"--limit is {limit}; it must be a number of standard deviations above 0")
    if space == "w":
        if at == "image":
            raise InputError("--space w is around the mean of the styles; leave out --at image")
        return traverse_styles(subject, rows, columns, limit, label, num, layers)
    if layers is not None:
        raise InputError("--layers is an option of --space w; leave it out")
    subject.require(Decoder, "decodes no latents")
    encodes, has_prior = isinstance(subject.model, Encoder), isinstance(subject.model, LatentGenerator)
    if not encodes and (not has_prior or at == "image"):
        raise InputError(f"{subject.name} encodes no images{'; use --at mean' if has_prior else ''}")
    codes = encode_split(subject, split, num).latents if encodes else None
    mean, deviation = _range(subject, codes, has_prior)
    base = with_class(subject, mean if codes is None or at == "mean" else _latents_of(subject, split, image), label)
    distances = torch.linspace(-limit, limit, columns, device=mean.device).unsqueeze(1)  # (T, 1)
    values = without_class(subject, mean) + distances * deviation  # (T, D)
    numbers: dict[str, Any] = {"latent_dim": values.shape[1]}
    if codes is None:
        numbers["effect"] = _effect(
            decode(subject, vary_dimensions(base, values, range(values.shape[1]))), columns
        ).tolist()
    else:
        numbers |= {"split": split, "num": len(codes), "activity": without_class(subject, codes).var(0).tolist()}
    measure = numbers["effect" if codes is None else "activity"]
    order = sorted(range(len(measure)), key=measure.__getitem__, reverse=True)[:rows]
    summary = (
        f"most {'effect' if codes is None else 'active'}: {', '.join(f'z{u} ({measure[u]:.3g})' for u in order[:5])}"
    )
    if codes is not None and has_prior:
        numbers["active_units"] = sum(activity > ACTIVE for activity in measure)
        summary = f"{numbers['active_units']} of {len(measure)} dimensions are active; {summary}"
    images = decode(subject, vary_dimensions(base, values, order))
    cells = [[strip(image.unsqueeze(0)) for image in row] for row in images.split(columns)]
    heads = [f"{distance:+.3g}" if distance else "0" for distance in distances.flatten().tolist()]
    picture = table(cells, [f"z{u}  {measure[u]:.2f}" for u in order], heads)
    return Findings(picture, numbers | {"limit": limit, "drawn": order}, summary=(summary,))


def vary_dimensions(
    base: Float[Tensor, "1 latent"], values: Float[Tensor, "steps dims"], dimensions: Sequence[int]
) -> Float[Tensor, "varied latent"]:
    """Latents in which one dimension at a time takes each of its values.

    Args:
        base: latents ``(1, latent)``.
        values: values of each dimension.
        dimensions: the dimensions to vary.

    Returns:
        Latents ``(dimensions * steps, latent)``, with the steps of the first dimension first.
    """
    latents = base.repeat(len(dimensions), len(values), 1)  # (R, T, D)
    for row, dimension in enumerate(dimensions):
        latents[row, :, dimension] = values[:, dimension]
    return latents.flatten(0, 1)


def _range(
    subject: Subject, codes: Latents | None, has_prior: bool
) -> tuple[Float[Tensor, "1 latent"], Float[Tensor, " dims"]]:
    """Mean (1, latent) and standard deviation of the prior, or of the latents without a prior."""
    if codes is None or has_prior:
        mean = prior_mean(subject)
        deviation = torch.ones_like(without_class(subject, mean)[0])
    else:
        mean, deviation = codes.mean(0, keepdim=True), without_class(subject, codes).std(0)
    if mean.ndim != 2:
        shape = " x ".join(map(str, mean.shape[1:]))
        raise InputError(f"traverse needs latents that are vectors; those of {subject.name} are {shape}")
    return mean, deviation


def _latents_of(subject: Subject, split: str, image: int) -> Latents:
    """Latents of one image of a split."""
    images = subject.data.image_set(split)
    if image >= len(images):
        raise InputError(f"--image is {image}; the images of {split} are 0 to {len(images) - 1}")
    return encode(subject, subject.batch(images, range(image, image + 1)))


def _effect(images: StoredImages, steps: int) -> Float[Tensor, " rows"]:
    """Standard deviation of a pixel in [0, 1] over the steps of each row, as root mean square over the pixels."""
    return images.unflatten(0, (-1, steps)).float().div(255).var(1).mean((1, 2, 3)).sqrt()
