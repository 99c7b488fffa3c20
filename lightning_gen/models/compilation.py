"""Compiling the networks of training steps by ``torch.compile``.

The networks are compiled in place, so the names of their weights stay the same. Code outside the block of a training
step runs them eagerly: samples and scores have other batch sizes, for which they would be compiled again. So do
penalties on gradients, which are differentiated twice: the compiler does not support that
(https://github.com/pytorch/pytorch/issues/91469).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lightning_gen.errors import InputError

BACKEND = "inductor"


def compile_networks(networks: Iterable[nn.Module], device: torch.device, steps_per_update: int = 1) -> None:
    """Compile networks and their direct parts, each where it has a forward, at their first call.

    Compiled networks draw the random numbers of eager ones. On a GPU, calls are recorded as CUDA graphs
    (``reduce-overhead``), unless gradients are accumulated over steps: they would lie in memory that the next call
    of a graph overwrites.

    Args:
        networks: the networks.
        device: their device.
        steps_per_update: number of training steps whose gradients are accumulated.

    Raises:
        InputError: if there is no working compiler.
    """
    check_compiler(device)
    cuda_graphs = device.type == "cuda" and steps_per_update == 1
    options: dict[str, Any] = {"fallback_random": True, "triton.cudagraphs": cuda_graphs}
    for module in _with_parts(networks):
        if type(module).forward is not nn.Module.forward:
            module.compile(backend=BACKEND, options=options if BACKEND == "inductor" else None)


def check_compiler(device: torch.device) -> None:
    """Compile a trivial function.

    Args:
        device: the device to compile it for.

    Raises:
        InputError: if that fails.
    """
    try:
        torch.compile(lambda x: x + 1, backend=BACKEND)(torch.zeros(2, device=device))
    except Exception as error:  # the compiler's stages raise many types
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"--compile needs a working compiler (a C++ compiler on the CPU, Triton on a GPU), which failed: {reason}; "
            "install one, or leave --compile out"
        ) from None


@contextmanager
def eagerly(compiled: bool) -> Iterator[None]:
    """Run compiled networks eagerly inside the block.

    Args:
        compiled: whether any networks are compiled. If not, the compiler is not imported.

    Yields:
        Nothing.
    """
    if not compiled:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _with_parts(networks: Iterable[nn.Module]) -> list[nn.Module]:
    return [module for network in networks for module in (network, *network.children())]
