"""Style mixing: images whose coarse layers have the styles of one latent and whose fine layers those of another."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.styles import chosen_layers, decode_styles, require_styles, sample_styles
from lightning_gen.inspection.subject import Subject

Cells = UInt8[Tensor, "_ _ channels height width"]


def mix(
    subject: Subject,
    rows: int = 5,
    columns: int = 6,
    layers: list[int] | None = None,
    label: int | None = None,
) -> Findings:
    """Mix the styles of pairs of latents (Karras et al. 2019, https://arxiv.org/abs/1812.04948, figure 3).

    Args:
        subject: model and data.
        rows: number of latents whose styles the chosen layers have.
        columns: number of latents whose styles all other layers have.
        layers: indices of the layers whose styles are those of the row, such as 0 1 2 3; 0 is the coarsest (default:
            the first half).
        label: the class of a conditional model (default: random classes).

    Returns:
        A table of the mixed images, between the images of the columns' latents above and of the rows' at the left; and
        the distance of the mixed images from both (root mean square of pixels in [0, 1], averaged over the table).

    Raises:
        InputError: if the model has no styles, or an option is out of range.
    """
    check_at_least(1, prefix="--", rows=rows, columns=columns)
    require_styles(subject)
    chosen = chosen_layers(subject, layers, range(max(1, subject.model.num_styles // 2)))
    row_styles = sample_styles(subject, 0, rows, label)
    column_styles = sample_styles(subject, rows, columns, label)
    left, above = decode_styles(subject, row_styles), decode_styles(subject, column_styles)
    mixed = decode_styles(subject, mix_styles(row_styles, column_styles, chosen).flatten(0, 1)).unflatten(0, (rows, -1))
    to_rows = distance(mixed, left.unsqueeze(1))
    to_columns = distance(mixed, above.unsqueeze(0))
    corner = torch.full_like(above[:1], 255)
    cells = [[strip(image.unsqueeze(0)) for image in torch.cat([corner, above])]]
    for source, images in zip(left, mixed, strict=True):
        cells.append([strip(image.unsqueeze(0)) for image in torch.cat([source.unsqueeze(0), images])])
    numbers = {
        "layers": chosen,
        "num_layers": subject.model.num_styles,
        "truncation": subject.model.truncation,
        "distance_from_rows": to_rows,
        "distance_from_columns": to_columns,
    }
    summary = (
        f"layers {', '.join(map(str, chosen))} of {subject.model.num_styles} from the rows: a mixed image differs by "
        f"{to_rows:.3f} from that of its row and by {to_columns:.3f} from that of its column (RMS)",
    )
    return Findings(table(cells, [""] * len(cells)), numbers, summary=summary)


def mix_styles(
    rows: Float[Tensor, "num_rows layers style"],
    columns: Float[Tensor, "num_columns layers style"],
    layers: Sequence[int],
) -> Float[Tensor, "num_rows num_columns layers style"]:
    """Styles of every pair of a row and a column: those of the row in some layers, those of the column in the others.

    Args:
        rows: styles of the rows.
        columns: styles of the columns.
        layers: indices of the layers with the styles of the row.

    Returns:
        The mixed styles.
    """
    mixed = columns.unsqueeze(0).repeat(len(rows), 1, 1, 1)
    index = torch.tensor(layers, device=rows.device)
    mixed[:, :, index] = rows[:, None, index]
    return mixed


def distance(images: Cells, sources: Cells) -> float:
    """Mean over the images of the root mean square difference of pixels in [0, 1]."""
    return (images.double() - sources.double()).div(255).square().mean((2, 3, 4)).sqrt().mean().item()
