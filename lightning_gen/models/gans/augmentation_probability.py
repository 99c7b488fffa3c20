"""The adaptive probability of augmentations (Karras et al. 2020, https://arxiv.org/abs/2006.06676, section 3).

The heuristic r = E[sign l(x)] of the logits of real images x is near 0 where the discriminator cannot tell the training
images from generated ones, and near 1 where it has memorised them. After every fourth batch,

    p <- max(0, p + sign(r - target) * (images of the four batches) / images),

so that p rises by 1 over ``images`` images while r stays above the target.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.checks import check_above, check_at_least
from lightning_gen.distributed import sum_over_ranks
from lightning_gen.errors import InputError

BATCHES = 4
"""Number of batches between two changes of p."""


class AugmentationProbability(nn.Module):
    """The probability p, and the state of its adaptation in buffers, which are equal on all ranks.

    Args:
        target: the value of r at which p does not change, in (-1, 1).
        images: number of images over which p changes by 1.

    Raises:
        InputError: if a value is out of range.
    """

    probability: Tensor
    sums: Tensor
    """Sums over the batches since p changed: of the signs of real logits, and of their number."""

    def __init__(self, target: float = 0.6, images: int = 500_000) -> None:
        super().__init__()
        check_above(-1, ada_target=target)
        check_at_least(1, ada_images=images)
        if target >= 1:
            raise InputError(f"model.ada_target is {target}; it must be below 1")
        self.target, self.images = target, images
        self.register_buffer("probability", torch.zeros(()))
        self.register_buffer("sums", torch.zeros(2))
        self._value: float | None = None
        self.register_load_state_dict_post_hook(_forget_value)

    @property
    def value(self) -> float:
        """The current p. It is at least 0, and it may exceed 1, which acts as 1."""
        if self._value is None:  # kept, because reading the buffer waits for the device
            self._value = float(self.probability)
        return self._value

    @torch.no_grad()
    def update(self, sign: Float[Tensor, ""], num: int, batches_seen: int) -> None:
        """Count a training batch, and change p after every fourth.

        Args:
            sign: mean sign of the logits of this rank's real images, in [-1, 1].
            num: number of this rank's images.
            batches_seen: number of training batches so far, including this one.
        """
        self.sums += sum_over_ranks(torch.stack([sign, torch.ones_like(sign)]) * num)
        if batches_seen % BATCHES:
            return
        signs, images = self.sums.tolist()
        step = (signs / images > self.target) - (signs / images < self.target)
        self.probability.add_(step * images / self.images).clamp_(min=0)
        self.sums.zero_()
        self._value = None


def _forget_value(module: AugmentationProbability, incompatible_keys: Any) -> None:
    """Read p again after a checkpoint was loaded."""
    module._value = None
