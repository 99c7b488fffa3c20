"""Collective operations of a distributed run; in a single process each is the identity.

Training averages gradients and statistics over the run's own process group. Scoring uses a second group (gloo, on the
CPU, with a long time-out), so that one rank may score for minutes while the others wait, whatever the time-out and the
backend of the run's own group. Nothing is padded, so no image is counted twice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lightning_gen.errors import InputError

SCORING_TIMEOUT = timedelta(days=1)
"""How long a rank waits for another in the scoring group."""

Result = TypeVar("Result")


def is_distributed() -> bool:
    """Whether this process belongs to a process group of more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank_and_world_size() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) outside a distributed run."""
    return (dist.get_rank(), dist.get_world_size()) if is_distributed() else (0, 1)


@torch.no_grad()
def average_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their mean over all ranks, in one message.

    Args:
        tensors: tensors of one dtype, with the same shapes on all ranks; changed in place.
    """
    if not is_distributed() or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Replace a tensor by its sum over all ranks, and return it."""
    if is_distributed():
        dist.all_reduce(tensor)
    return tensor


def maximum_over_ranks(value: int, device: torch.device) -> int:
    """The largest of the ranks' values.

    Args:
        value: this rank's value.
        device: a device of the process group's backend.

    Returns:
        The value, the same on all ranks.
    """
    if not is_distributed():
        return value
    tensor = torch.tensor(value, device=device)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return int(tensor)


def gather_on_first_rank(value: Any) -> list[Any]:
    """Gather a picklable value of every rank on rank 0, in the order of the ranks; empty on the other ranks."""
    if not is_distributed():
        return [value]
    values: list[Any] | None = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(value, values, dst=0)
    return values or []


def average_running_statistics(*networks: nn.Module) -> None:
    """Average the saved floating-point buffers of networks, such as BatchNorm's running mean, over all ranks.

    DistributedDataParallel would overwrite them with rank 0's. Buffers that are not saved are constants and are left
    out.
    """
    if not is_distributed():
        return
    saved = [value for network in networks for value in network.state_dict(keep_vars=True).values()]
    average_over_ranks([value for value in saved if value.is_floating_point() and not isinstance(value, nn.Parameter)])


class ScoringGroup:
    """The processes that score together; outside a distributed run, this process alone.

    Args:
        rank: rank of this process.
        world: number of processes.
        group: their process group; None for a single process.
    """

    def __init__(self, rank: int = 0, world: int = 1, group: Any = None) -> None:
        self.rank = rank
        self.world = world
        self.group = group

    def share(self, num: int) -> range:
        """The items of ``range(num)`` that this rank processes: every ``world``-th."""
        return range(self.rank, num, self.world)

    def gather(self, part: Mapping[str, Tensor], num: int) -> dict[str, Tensor] | None:
        """Gather the ranks' shares of ``num`` rows on rank 0, in order.

        Args:
            part: columns by name, each with the rows of this rank's ``share(num)``, on the CPU; empty when the rank
                has no row.
            num: total number of rows, at least 1.

        Returns:
            The columns with all rows on rank 0, None elsewhere.
        """
        if self.world == 1:
            return dict(part)
        parts: list[Any] | None = [None] * self.world if self.rank == 0 else None
        dist.gather_object(dict(part), parts, dst=0, group=self.group)
        if parts is None:
            return None
        whole = {name: rows.new_empty(num, *rows.shape[1:]) for name, rows in part.items()}
        for rank, columns in enumerate(parts):
            for name, rows in columns.items():
                whole[name][rank :: self.world] = rows
        return whole

    def on_first_rank(self, work: Callable[[], Result]) -> Result:
        """Run a function on rank 0 and broadcast its result.

        Args:
            work: the function; its result must be picklable.

        Returns:
            The result, on every rank.

        Raises:
            InputError: on every rank, when the work on rank 0 raised it.
            RuntimeError: on the other ranks, when the work on rank 0 failed otherwise.
        """
        if self.world == 1:
            return work()
        answer: list[Any] = [None, None]
        if self.rank == 0:
            try:
                answer[0] = work()
            except Exception as error:
                answer[1] = error if isinstance(error, InputError) else RuntimeError(f"rank 0 failed: {error!r}")
                dist.broadcast_object_list(answer, src=0, group=self.group)
                raise
        dist.broadcast_object_list(answer, src=0, group=self.group)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]


@contextmanager
def scoring_group() -> Iterator[ScoringGroup]:
    """Create the scoring group of this run; every rank must enter the context.

    Yields:
        The group.
    """
    if not is_distributed():
        yield ScoringGroup()
        return
    group = dist.new_group(backend="gloo", timeout=SCORING_TIMEOUT)
    try:
        yield ScoringGroup(*rank_and_world_size(), group)
    finally:
        dist.destroy_process_group(group)
