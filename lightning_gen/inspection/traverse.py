"""What each latent dimension does."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.latents import decode, encode, encode_split, noise_of, prior_mean, with_class
from lightning_gen.inspection.subject import Subject, at_least
from lightning_gen.types import Decoder, Encoder, LatentGenerator, Latents, StoredImages

ACTIVE = 0.01
"""A unit is active whose encoding has more variance than this over the images (Burda et al. 2016)."""


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
) -> Findings:
    """Move one latent dimension at a time over its range and hold the others, the most active dimensions first.

    The activity of a dimension u is A_u = Var_x(E_q(u|x)[u]), the variance of its encoding over images (Burda et al.
    2016, https://arxiv.org/abs/1509.00519); under a standard normal prior, units above 0.01 are active. Where the model
    encodes no images, the effect of a dimension stands for it: the standard deviation of a pixel in [0, 1] on the way.

    Args:
        subject: model and data.
        rows: dimensions in the picture, at most.
        columns: images in a row.
        limit: how far to go to either side, in standard deviations of the standard normal prior (of the codes, around
            their mean, where there is no prior).
        at: where the other dimensions are held: the latents of an image, or the mean of the prior (of the codes, where
            there is none). An image when not given, or the mean where the model encodes none.
        image: number of the image in the split.
        label: the class, of a conditional model; that of the image when not given, and 0 at the mean.
        split: the split of the image, and of those that the activity is measured over.
        num: images that the activity is measured over, spread evenly over the split.

    Returns:
        A row for each dimension, with its activity or effect; those of all dimensions, and the number of active ones.

    Raises:
        InputError: when the model has no latents to move, or an option is out of range.
    """
    at_least(0, image=image)
    at_least(1, rows=rows)
    at_least(2, columns=columns, num=num)
    if not 0 < limit < math.inf:
        raise InputError(f"--limit is {limit}; it must be a number of standard deviations above 0")
    subject.need(Decoder, "decodes no latents")
    encodes, has_prior = isinstance(subject.model, Encoder), isinstance(subject.model, LatentGenerator)
    if not encodes and (not has_prior or at == "image"):
        raise InputError(f"{subject.name} encodes no images{'; take --at mean' if has_prior else ''}")
    codes = encode_split(subject, split, num).latents if encodes else None
    mean, deviation = _range(subject, codes, has_prior)
    held = with_class(subject, mean if codes is None or at == "mean" else _latents_of(subject, split, image), label)
    distances = torch.linspace(-limit, limit, columns, device=mean.device).unsqueeze(1)  # (T, 1)
    values = noise_of(subject, mean) + distances * deviation  # (T, D)
    numbers: dict[str, Any] = {"latent_dim": values.shape[1]}
    if codes is None:
        numbers["effect"] = _effect(decode(subject, moved(held, values, range(values.shape[1]))), columns).tolist()
    else:
        numbers |= {"split": split, "num": len(codes), "activity": noise_of(subject, codes).var(0).tolist()}
    measure = numbers["effect" if codes is None else "activity"]
    order = sorted(range(len(measure)), key=measure.__getitem__, reverse=True)[:rows]
    summary = (
        f"most {'effect' if codes is None else 'active'}: {', '.join(f'z{u} ({measure[u]:.3g})' for u in order[:5])}"
    )
    if codes is not None and has_prior:
        numbers["active_units"] = sum(activity > ACTIVE for activity in measure)
        summary = f"{numbers['active_units']} of {len(measure)} dimensions are active; {summary}"
    images = decode(subject, moved(held, values, order))
    cells = [[strip(image.unsqueeze(0)) for image in row] for row in images.split(columns)]
    heads = [f"{distance:+.3g}" if distance else "0" for distance in distances.flatten().tolist()]
    picture = table(cells, [f"z{u}  {measure[u]:.2f}" for u in order], heads)
    return Findings(picture, numbers | {"limit": limit, "drawn": order}, summary=(summary,))


def moved(
    held: Float[Tensor, "1 latent"], values: Float[Tensor, "steps dims"], chosen: Sequence[int]
) -> Float[Tensor, "moved latent"]:
    """Give one dimension at a time each of its values.

    Args:
        held: latents ``(1, latent)``, of which the first are moved.
        values: of each dimension that can be moved.
        chosen: the dimensions to move.

    Returns:
        Latents ``(chosen * steps, latent)``, the steps of the first dimension first.
    """
    latents = held.repeat(len(chosen), len(values), 1)  # (R, T, D)
    for row, dimension in enumerate(chosen):
        latents[row, :, dimension] = values[:, dimension]
    return latents.flatten(0, 1)


def _range(
    subject: Subject, codes: Latents | None, has_prior: bool
) -> tuple[Float[Tensor, "1 latent"], Float[Tensor, " dims"]]:
    """Mean (1, latent) and standard deviation of the latents: the prior's, or else those of the codes."""
    if codes is None or has_prior:
        mean = prior_mean(subject)
        deviation = torch.ones_like(noise_of(subject, mean)[0])
    else:
        mean, deviation = codes.mean(0, keepdim=True), noise_of(subject, codes).std(0)
    if mean.ndim != 2:
        shape = " x ".join(map(str, mean.shape[1:]))
        raise InputError(f"traverse needs latents that are vectors; those of {subject.name} are {shape}")
    return mean, deviation


def _latents_of(subject: Subject, split: str, image: int) -> Latents:
    """The latents of one image of a split."""
    images = subject.data.image_set(split)
    if image >= len(images):
        raise InputError(f"--image is {image}; the images of {split} are 0 to {len(images) - 1}")
    return encode(subject, subject.batch(images, range(image, image + 1)))


def _effect(images: StoredImages, steps: int) -> Float[Tensor, " rows"]:
    """The standard deviation of a pixel in [0, 1] along each row of images, as root mean square over the pixels."""
    return images.unflatten(0, (-1, steps)).float().div(255).var(1).mean((1, 2, 3)).sqrt()
