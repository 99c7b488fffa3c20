"""The truncation of style-based generators on the command line."""

import math
from dataclasses import dataclass

from lightning_gen.errors import InputError
from lightning_gen.types import StyleMapper


@dataclass(frozen=True)
class TruncationOptions:
    """Options of style-based generators; None: the model's own.

    Attributes:
        truncation: psi of the truncation w' = m + psi (w - m) of styles w towards their average m: 1 changes nothing,
            0 always gives the average image.
        truncated_layers: number of layers, from the coarsest on, whose styles are truncated.
    """

    truncation: float | None = None
    truncated_layers: int | None = None


NO_TRUNCATION = TruncationOptions()
"""Both options at the model's own values."""


def set_truncation(model: object, options: TruncationOptions) -> None:
    """Set the truncation of a style-based generator.

    Args:
        model: any model, or None where no model is loaded.
        options: the options.

    Raises:
        InputError: if an option is set for another model, out of range or without effect.
    """
    given = {name: value for name, value in vars(options).items() if value is not None}
    if not given:
        return
    if not isinstance(model, StyleMapper):
        subject = "no model is loaded" if model is None else f"{type(model).__name__} has no styles"
        raise InputError(f"--{next(iter(given))} is an option of style-based generators, and {subject}; leave it out")
    psi, layers = options.truncation, options.truncated_layers
    if psi is not None:
        if not math.isfinite(psi):
            raise InputError(f"--truncation is {psi}; it must be a number")
        model.truncation = psi
    if layers is not None:
        if not 1 <= layers <= model.num_styles:
            raise InputError(f"--truncated_layers is {layers}; this model has {model.num_styles} layers with styles")
        if model.truncation == 1:
            raise InputError("--truncated_layers has no effect without --truncation, e.g. 0.7")
        model.truncated_layers = layers
