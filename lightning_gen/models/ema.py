r"""Exponential moving average of a network's weights, in units of images.

After a step of b images with half-life H, :math:`w' \leftarrow d\,w' + (1 - d)\,w` with :math:`d = 2^{-b/H}`, so a
half-life means the same at every batch size (Karras et al. 2018, https://arxiv.org/abs/1710.10196; half-life in
images as in EDM, https://arxiv.org/abs/2206.00364).
"""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class ImageEMA(AveragedModel):
    """A network's moving average as a submodule: saved, moved and loaded with the model that holds it.

    The running statistics of BatchNorm are averaged like weights: those of the last few batches would not fit
    averaged weights.

    Args:
        network: the network to follow; copied.
        half_life: images after which a weight's share in the average has halved.
        ramp_up: while few images were seen, the half-life is at most this share of them, so that the random first
            weights are forgotten.
    """

    def __init__(self, network: nn.Module, half_life: float, ramp_up: float = 0.05) -> None:
        super().__init__(network)
        self.requires_grad_(False)
        self.half_life, self.ramp_up = half_life, ramp_up

    def decay(self, images: int, images_seen: int) -> float:
        """The old average's weight d in an update.

        Args:
            images: images since the last update.
            images_seen: images since the beginning.

        Returns:
            d in [0, 1].
        """
        half_life = min(self.half_life, self.ramp_up * images_seen)
        return 0.5 ** (images / half_life) if half_life > 0 else 0.0

    @torch.no_grad()
    def update(self, network: nn.Module, decay: float) -> None:
        """Take one step of the average; unlike AveragedModel's own, it never waits for the device.

        Args:
            network: the followed network.
            decay: d.
        """
        average = get_ema_multi_avg_fn(decay)
        ours, theirs = self.module.state_dict(), network.state_dict()
        floats = [name for name, value in theirs.items() if value.is_floating_point()]
        average([ours[name] for name in floats], [theirs[name] for name in floats], None)
        for name in theirs.keys() - floats:
            ours[name].copy_(theirs[name])
        self.n_averaged += 1
