"""Work shared by the processes of a run: who does what, and how the parts come together again.

Everything travels over a group of its own (gloo, on the CPU, with a long time-out): one rank may score for minutes
while the others wait, whatever time-out and backend the run's own process group has. Nothing is padded, so no image
is ever counted twice.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor

from lightning_gen.errors import InputError

PATIENCE = timedelta(days=1)
"""How long a rank waits for another that is at work."""

Result = TypeVar("Result")


class Ranks:
    """The processes that score together; outside a distributed run, this process alone.

    Args:
        rank: number of this process.
        world: how many there are.
        group: the process group that they talk over; None for one process.
    """

    def __init__(self, rank: int = 0, world: int = 1, group: Any = None) -> None:
        self.rank = rank
        self.world = world
        self.group = group

    def share(self, num: int) -> range:
        """The items of ``range(num)`` that are this rank's: every ``world``-th."""
        return range(self.rank, num, self.world)

    def gather(self, part: Mapping[str, Tensor], num: int) -> dict[str, Tensor] | None:
        """Put the ranks' parts of ``num`` rows back in order.

        Args:
            part: columns by name, each with the rows of this rank's ``share(num)``, on the CPU; empty when the rank
                has no row.
            num: rows in all, at least one.

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

    def first(self, work: Callable[[], Result]) -> Result:
        """Do work on rank 0 and hand its result to every rank.

        Args:
            work: what to do; its result must be picklable.

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
def ranks() -> Iterator[Ranks]:
    """The processes of this run, as a context; every one of them must enter it.

    Yields:
        This process's place among them.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        yield Ranks()
        return
    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), group)
    finally:
        dist.destroy_process_group(group)
