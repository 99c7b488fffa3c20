"""The truncation of styles: w' = m + psi (w - m), with the average style m.

It trades variation for the quality of single images (Karras et al. 2019, https://arxiv.org/abs/1812.04948, appendix B):
psi = 1 changes nothing, and psi = 0 gives the average style. Truncating the first layers alone keeps the variation of
fine details.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.types import Latents, StyleMapper, Styles


def truncate(styles: Styles, average: Float[Tensor, " style"], psi: float, layers: int | None = None) -> Styles:
    """Truncate styles.

    Args:
        styles: styles w.
        average: the average style m.
        psi: the factor of w - m.
        layers: number of layers, from the coarsest on, whose styles are truncated; None: all.

    Returns:
        Styles w'.
    """
    if psi == 1:
        return styles
    truncated = torch.lerp(average.to(styles.dtype).expand_as(styles), styles, psi)
    return truncated if layers is None else torch.cat([truncated[:, :layers], styles[:, layers:]], 1)


def truncated_styles(model: StyleMapper, latents: Latents) -> Styles:
    """Map latents to styles, with the model's truncation."""
    return truncate(model.styles(latents), model.style_average, model.truncation, model.truncated_layers)
