"""Keeping the ranks of a distributed run equal."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def average_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their mean over all ranks, in one message.

    Args:
        tensors: tensors of one type, of the same shapes on all ranks.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()) or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def running_statistics(*networks: nn.Module) -> list[Tensor]:
    """What BatchNorm has seen on this rank alone; DistributedDataParallel would go by the first rank's.

    Args:
        *networks: the networks.

    Returns:
        Their floating-point buffers; those that are not saved are constants and left out.
    """
    saved = [value for network in networks for value in network.state_dict(keep_vars=True).values()]
    return [value for value in saved if value.is_floating_point() and not isinstance(value, nn.Parameter)]
