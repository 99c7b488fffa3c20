"""Principal directions of the styles w (GANSpace; Harkonen et al. 2020, https://arxiv.org/abs/2004.02546)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.styles import chosen_layers, decode_styles, require_styles, sample_styles
from lightning_gen.inspection.subject import Subject


class Directions(NamedTuple):
    """Principal components of vectors, those of the largest variance first.

    Attributes:
        mean: the mean.
        components: orthonormal directions; the entry of largest magnitude of each is positive.
        deviations: standard deviation along each direction.
    """

    mean: Float[Tensor, " style"]
    components: Float[Tensor, "components style"]
    deviations: Float[Tensor, " components"]


def principal_directions(vectors: Float[Tensor, "num style"]) -> Directions:
    """Principal components of two or more vectors."""
    mean = vectors.double().mean(0)
    _, singular, components = torch.linalg.svd(vectors.double() - mean, full_matrices=False)
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    deviations = singular / (len(vectors) - 1) ** 0.5
    parts = (mean, components * largest.sign(), deviations)
    return Directions(*(part.to(vectors.dtype) for part in parts))


def traverse_styles(
    subject: Subject, rows: int, columns: int, limit: float, label: int | None, num: int, layers: list[int] | None
) -> Findings:
    """Move the styles along their principal directions; the arguments are those of ``traverse``.

    Args:
        subject: a ``StyleMapper``.
        rows: maximum number of directions in the picture.
        columns: number of images per row.
        limit: range to either side, in standard deviations along the direction.
        label: the class of a conditional model; None: all classes.
        num: number of latents whose styles are analysed.
        layers: layers whose styles move; None: all.

    Returns:
        A row per direction with its share of the variance, around the mean of the styles.

    Raises:
        InputError: if the model has no styles, all styles are equal, or a layer is out of range.
    """
    require_styles(subject)
    chosen = chosen_layers(subject, layers, range(subject.model.num_styles))
    vectors = sample_styles(subject, 0, num, label)[:, chosen[0]]
    mean, components, deviations = principal_directions(vectors)
    variance = deviations.double().square()
    if not variance.sum() > 0:
        raise InputError("all styles are equal; --truncation must not be 0")
    share = (variance / variance.sum()).tolist()
    rows = min(rows, len(components))
    distances = torch.linspace(-limit, limit, columns, device=mean.device)
    steps = distances[:, None] * deviations[:rows, None, None] * components[:rows, None]  # (R, T, D)
    styles = mean.expand(rows, columns, subject.model.num_styles, -1).clone()
    styles[:, :, chosen] += steps.unsqueeze(2)
    images = decode_styles(subject, styles.flatten(0, 1))
    effect = images.unflatten(0, (rows, columns)).double().div(255).var(1).mean((1, 2, 3)).sqrt().tolist()
    cells = [[strip(image.unsqueeze(0)) for image in row] for row in images.split(columns)]
    heads = [f"{distance:+.3g}" if distance else "0" for distance in distances.tolist()]
    picture = table(cells, [f"w{i}  {share[i]:.1%}" for i in range(rows)], heads)
    numbers = {
        "num": num,
        "limit": limit,
        "layers": chosen,
        "truncation": subject.model.truncation,
        "explained_variance": share,
        "effect": effect,
    }
    summary = f"{rows} of {len(share)} directions have {sum(share[:rows]):.1%} of the variance of {num} styles"
    return Findings(picture, numbers, summary=(summary,))
