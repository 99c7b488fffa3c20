"""The device of a command: the value of ``--device``."""

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
