"""Evaluating a model without changing its state or the random number generators of the run."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn


def model_device(model: object) -> torch.device:
    """The device of a model's first parameter; the CPU for a model without parameters."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))


@contextmanager
def eval_mode(model: object) -> Iterator[None]:
    """Put a model into eval mode; every submodule gets its own mode back.

    Args:
        model: the model; an object that is no module is left alone.

    Yields:
        Nothing.
    """
    modes = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def isolated_inference(model: object, seed: int) -> Iterator[None]:
    """Run a block in eval mode and inference mode, with torch's global generators seeded; restore everything.

    The states of NumPy's and Python's global generators are restored as well.

    Args:
        model: the model that the block evaluates.
        seed: seed of the global generators of the CPU and of the model's device inside the block.

    Yields:
        Nothing.
    """
    device = model_device(model)
    with isolate_rng(include_cuda=device.type == "cuda"), torch.inference_mode():
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        with eval_mode(model):
            yield
