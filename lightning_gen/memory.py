"""The machine's memory, and networks that are refused before they fill it.

A network is built while the sizes of its tensors are added up. One with more than ``SMALL_BYTES`` is built on the meta
device first, which allocates nothing, so that a mistyped width is an error within seconds.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from lightning_gen.errors import InputError

Built = TypeVar("Built")
SMALL_BYTES = 2**28
"""Networks with fewer bytes are built without being measured on the meta device."""
NETWORK_SHARE = 0.5
"""The share of the machine's memory that the tensors of a new model may take."""
MAX_TENSORS = 10_000
"""The number of tensors that a new model may allocate; the largest published networks have about a thousand."""
CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")
FACTORIES = {
    torch.arange,
    torch.empty,
    torch.eye,
    torch.full,
    torch.linspace,
    torch.ones,
    torch.rand,
    torch.randint,
    torch.randn,
    torch.zeros,
}


class TooLargeError(Exception):
    """Raised inside of this module when a limit is exceeded, with the reason."""


class AllocationLimit(TorchFunctionMode):
    """While active, limits the memory and the number of the tensors that torch's factory functions allocate.

    Args:
        num_bytes: the largest sum of their sizes.
    """

    def __init__(self, num_bytes: float) -> None:
        super().__init__()
        self.num_bytes = num_bytes
        self.bytes_allocated = 0
        self.tensors = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Add up the size of a new tensor before it is allocated."""
        kwargs = kwargs or {}
        if func in FACTORIES:
            self.count(func, args, {name: value for name, value in kwargs.items() if name not in ("out", "generator")})
        return func(*args, **kwargs)

    def count(self, func: Any, args: Any, kwargs: Any) -> None:
        """Count a tensor.

        Args:
            func: a factory function.
            args: its positional arguments.
            kwargs: its other arguments.

        Raises:
            TooLargeError: if the limit is exceeded.
        """
        try:
            self.bytes_allocated += func(*args, **{**kwargs, "device": "meta"}).nbytes
        except (RuntimeError, TypeError, OverflowError) as error:
            if "overflow" in str(error).lower():
                raise TooLargeError("a tensor of it has more elements than a machine can count") from None
            return  # the call itself reports its arguments
        self.tensors += 1
        if self.tensors > MAX_TENSORS:
            raise TooLargeError(f"it has more than {MAX_TENSORS:,} tensors")
        if self.bytes_allocated > self.num_bytes:
            raise TooLargeError(
                f"its tensors take more than {self.num_bytes / 1e9:.3g} GB, {NETWORK_SHARE:.0%} of the machine's memory"
            )


def build_within_memory(build: Callable[[], Built], title: str) -> Built:
    """Build a model unless its tensors do not fit in the machine's memory.

    Args:
        build: builds the model; it may be called up to three times, and draws the same random numbers each time.
        title: what is built, for the message.

    Returns:
        The model.

    Raises:
        InputError: if its tensors take more than ``NETWORK_SHARE`` of the memory, or there are more than
            ``MAX_TENSORS``.
    """
    random_state = torch.get_rng_state()
    limit = NETWORK_SHARE * machine_memory()
    try:
        with AllocationLimit(min(SMALL_BYTES, limit)):
            return build()
    except TooLargeError:
        torch.set_rng_state(random_state)
    try:
        measure(build, limit)
        torch.set_rng_state(random_state)
        with AllocationLimit(limit):
            return build()
    except (TooLargeError, MemoryError) as error:
        reason = str(error) or "the machine's memory is full"
        raise InputError(f"{title} is too large to build: {reason}; use smaller sizes") from None


def measure(build: Callable[[], object], limit: float) -> None:
    """Build a model on the meta device.

    Args:
        build: builds the model.
        limit: largest sum of the sizes of its tensors, in bytes.

    Raises:
        TooLargeError: if the model exceeds a limit.
    """
    try:
        with torch.device("meta"), AllocationLimit(limit):
            build()
    except TooLargeError:
        raise
    except Exception:  # a network that reads its own weights cannot be built there, and is measured as it is built
        return


def machine_memory() -> int:
    """The bytes of memory of the machine, or of the container that this process runs in; 2**63 if it is unknown."""
    memory = 2**63
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(CONTROL_GROUP.read_text()))
    except (OSError, ValueError):  # no control groups, or no limit ("max")
        return memory
