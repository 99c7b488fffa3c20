"""The device of a command: the value of ``--device``."""

import os

import torch

from lightning_gen.errors import InputError


def resolve_device(device: str | None) -> str:
    """Check that a device can be used.

    Args:
        device: a device's name. None: the accelerator if there is one, otherwise the CPU.

    Returns:
        The device's name.

    Raises:
        InputError: if torch cannot allocate memory on the device.
    """
    name = device or default_device()
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device is {name}, which cannot be used here ({str(error).splitlines()[0]})") from None
    return name


def default_device() -> str:
    """The accelerator if there is one, otherwise the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return "cpu" if accelerator is None else accelerator.type


def declare_missing_gpus() -> None:
    """Set ``CUDA_VISIBLE_DEVICES`` to no device on a machine without a GPU, unless it is set.

    Otherwise each step of an optimizer opens the driver's library to count the GPUs, if torch was built for CUDA. It
    takes 0.3 ms, a twentieth of the step of a small network.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
