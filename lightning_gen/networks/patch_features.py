"""The feature heads of CUT (Park et al. 2020, https://arxiv.org/abs/2007.15651, section 3.2)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.checks import check_at_least
from lightning_gen.networks.dcgan import init_weights


class PatchHeads(nn.Module):
    """A multilayer perceptron with one hidden layer for each map of an encoder, from its vectors to unit vectors.

    Args:
        channels: number of channels of each map.
        features: number of hidden units and of output features; the paper's is 256.
    """

    def __init__(self, channels: Sequence[int], features: int = 256) -> None:
        super().__init__()
        check_at_least(1, patch_features=features)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, features), nn.ReLU(), nn.Linear(features, features)) for inputs in channels
        )
        self.apply(init_weights)

    def forward(
        self, maps: Sequence[Tensor], positions: Sequence[Tensor]
    ) -> list[Float[Tensor, "batch positions features"]]:
        """Unit vectors at positions of each map.

        Args:
            maps: one (batch, channels, height, width) for each head.
            positions: for each map the indices of its pixels in row-major order.

        Returns:
            The vectors, for each map.
        """
        vectors = [one.flatten(2)[:, :, chosen].transpose(1, 2) for one, chosen in zip(maps, positions, strict=True)]
        return [F.normalize(head(one), dim=2) for head, one in zip(self.heads, vectors, strict=True)]


def draw_positions(maps: Sequence[Tensor], num: int) -> list[Tensor]:
    """Distinct random positions of each map, at most ``num`` and as many as it has, from torch's global generator."""
    return [torch.randperm(one[0, 0].numel(), device=one.device)[:num] for one in maps]
