r"""Exponential moving average of a network's weights, with its half-life in images.

After a step of b images with half-life H, :math:`w' \leftarrow d\,w' + (1 - d)\,w` with :math:`d = 2^{-b/H}`, so a
half-life has the same effect at every batch size (Karras et al. 2018, https://arxiv.org/abs/1710.10196; half-life in
images as in EDM, https://arxiv.org/abs/2206.00364).
"""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class ImageEMA(AveragedModel):
    """The EMA of a network as a submodule, saved, moved and loaded with the model that contains it.

    The running statistics of BatchNorm are averaged like weights, because those of the last few batches would not
    match the averaged weights.

    Args:
        network: the network to average; it is copied.
        half_life: number of images after which the contribution of a weight has halved.
        ramp_up: the half-life is at most this fraction of the images seen so far, so that the EMA forgets the random
            initial weights.
    """

    def __init__(self, network: nn.Module, half_life: float, ramp_up: float = 0.05) -> None:
        super().__init__(network)
        self.requires_grad_(False)
        self.half_life, self.ramp_up = half_life, ramp_up

    def decay(self, images: int, images_seen: int) -> float:
        """The decay d in [0, 1] of an update ``images`` images after the last one."""
        half_life = min(self.half_life, self.ramp_up * images_seen)
        return 0.5 ** (images / half_life) if half_life > 0 else 0.0

    @torch.no_grad()
    def update(self, network: nn.Module, decay: float) -> None:
        """Update the average with decay d; unlike ``update_parameters``, this never synchronises with the device."""
        average = get_ema_multi_avg_fn(decay)
        ours, theirs = self.module.state_dict(), network.state_dict()
        floats = [name for name, value in theirs.items() if value.is_floating_point()]
        average([ours[name] for name in floats], [theirs[name] for name in floats], None)
        for name in theirs.keys() - floats:
            ours[name].copy_(theirs[name])
        self.n_averaged += 1
