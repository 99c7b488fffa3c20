"""Applies a function to many indices on all cores: in processes on Linux, in threads elsewhere.

Decoders of small images hold the interpreter's lock for most of their time, so threads would wait for each other. On
Linux, processes are forked, which shares the source in memory and needs no pickling of the function.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import current_process
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from lightning_gen.errors import InputError

MAX_WORKERS = 16
PROBE = 8
"""Number of indices that are timed in this process before others are started."""
MIN_SECONDS = 0.25
"""Estimated duration below which no processes are started, which takes a tenth of a second."""
CHUNK_SECONDS = 0.02
"""Estimated duration of a call, which is long compared with sending its result."""
T = TypeVar("T")


def threaded_map(function: Callable[[int], T], num: int, chunk: int = 256) -> Iterator[T]:
    """Apply a function to 0 ... num - 1 in threads, with a bounded number of pending results.

    Args:
        function: should release the interpreter's lock, as Pillow, zlib and hashlib do in their loops.
        num: number of calls.
        chunk: maximum number of pending calls.

    Yields:
        The results in order.
    """
    with ThreadPoolExecutor(num_workers()) as pool:
        for start in range(0, num, chunk):
            yield from pool.map(function, range(start, min(start + chunk, num)))


def map_ranges(function: Callable[[range], T], num: int, max_range: int = 256) -> Iterator[T]:
    """Apply a function to ranges that cover 0 ... num - 1, with at most two pending results per worker.

    The first range is timed in this process. Workers are started if the others would take ``MIN_SECONDS`` or more.

    Args:
        function: takes a range of indices. Its result is sent between processes; what it changes is lost.
        num: number of indices.
        max_range: maximum number of indices per call.

    Yields:
        The results in order.

    Raises:
        InputError: as the function raises it.
    """
    if num == 0:
        return
    first = range(min(num, PROBE, max_range))
    start = time.perf_counter()
    yield function(first)
    seconds = (time.perf_counter() - start) / len(first)
    step = max(1, min(max_range, int(CHUNK_SECONDS / max(seconds, 1e-9))))
    calls = _Calls(function, [range(i, min(i + step, num)) for i in range(len(first), num, step)])
    if seconds * (num - len(first)) < MIN_SECONDS or num_workers() == 1:
        yield from map(function, calls.ranges)
        return
    results: Iterable[T | InputError]
    if sys.platform == "linux":
        results = DataLoader(
            calls,
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=num_workers(),
            multiprocessing_context="fork",
            generator=torch.Generator(),  # the default one is the run's
        )
    else:
        results = threaded_map(calls.__getitem__, len(calls), 2 * num_workers())
    for result in results:
        if isinstance(result, InputError):
            raise result
        yield result


def num_workers() -> int:
    """The number of cores that this process may use, at most ``MAX_WORKERS``; 1 in a process that may start none."""
    if current_process().daemon:
        return 1
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(MAX_WORKERS, cores)


class _Calls(Dataset["T | InputError"], Generic[T]):
    """The calls as a dataset; an :class:`InputError` is a result, because workers add their traceback to errors."""

    def __init__(self, function: Callable[[range], T], ranges: list[range]) -> None:
        self.function, self.ranges = function, ranges

    def __len__(self) -> int:
        return len(self.ranges)

    def __getitem__(self, index: int) -> T | InputError:
        try:
            return self.function(self.ranges[index])
        except InputError as error:
            return error


def _unchanged(result: T) -> T:
    """Replaces DataLoader's conversion of arrays to tensors, which are sent in shared memory."""
    return result
