"""Looking at a model without leaving a trace: eval mode, no gradients, no random number taken from the run."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn


def model_device(model: object) -> torch.device:
    """Where a model computes: the device of its first parameter, else the CPU."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))


@contextmanager
def undisturbed(model: object, seed: int) -> Iterator[None]:
    """Run a block with a model in eval mode and torch's global generators set to ``seed``; put everything back.

    The states of NumPy's and Python's global generators are put back as well.

    Args:
        model: what is looked at; each of its modules gets its own mode back.
        seed: where the block's global random numbers start, on the CPU and on the model's device.

    Yields:
        Nothing.
    """
    device = model_device(model)
    modes = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
    with isolate_rng(include_cuda=device.type == "cuda"), torch.inference_mode():
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        try:
            for module, _ in modes:
                module.training = False
            yield
        finally:
            for module, mode in modes:
                module.training = mode
