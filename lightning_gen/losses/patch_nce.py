r"""The patchwise contrastive loss (Park et al. 2020, https://arxiv.org/abs/2007.15651, equations 2 and 3).

For S positions of an image with unit vectors q_s of the translation and k_s of the input,

    NCE = -E_s log( exp(<q_s, k_s> / tau) / sum_r exp(<q_s, k_r> / tau) )

The negatives are the other positions of the same image. It is log S for equal vectors and
log(1 + (S - 1) exp(-1 / tau)) for orthonormal ones with q = k.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def patch_nce(
    query: Float[Tensor, "batch positions features"],
    key: Float[Tensor, "batch positions features"],
    temperature: float = 0.07,
) -> Float[Tensor, ""]:
    """The contrastive loss in nats, in float32 also under autocast.

    Args:
        query: unit vectors of positions of the translations.
        key: unit vectors of the same positions of the inputs; they get no gradient.
        temperature: tau.

    Returns:
        The mean over images and positions.
    """
    with torch.autocast(query.device.type, enabled=False):
        similarities = query.float() @ key.detach().float().transpose(1, 2) / temperature  # (batch, S, S)
        positive = similarities.diagonal(dim1=1, dim2=2)
        return (similarities.logsumexp(2) - positive).mean()
