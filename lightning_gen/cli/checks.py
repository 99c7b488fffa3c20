"""Checks of a model together with its data, which neither of them can make alone."""

import os
from pydoc import locate

from pytorch_lightning import Trainer
from pytorch_lightning.accelerators import CPUAccelerator

from lightning_gen.data import ImageData
from lightning_gen.data.datasets import find_dataset
from lightning_gen.errors import InputError
from lightning_gen.models.translator import ImageTranslation
from lightning_gen.types import LikelihoodModel, Translator

PROCESSES_PER_CORE = 8
"""The largest number of processes per core of the CPU that train together."""


def check_likelihood(model: object, data: ImageData) -> None:
    """Check that binarized images have a Bernoulli likelihood: a density of two values is unbounded.

    Args:
        model: any model.
        data: the data that it is trained on or scored against.

    Raises:
        InputError: if the data is binarized and the model's likelihood is Gaussian.
    """
    if data.binarize and isinstance(model, LikelihoodModel) and model.likelihood != "bernoulli":
        raise InputError(
            f"data.binarize is {data.binarize} and model.likelihood is {model.likelihood}; binarized images need "
            "a bernoulli likelihood"
        )


def check_has_inputs(class_path: str, inputs: str | None, dataset: str) -> None:
    """Check that the data has inputs if a model makes images from images, before either is created.

    Args:
        class_path: import path of the model's class.
        inputs: value of ``data.inputs``.
        dataset: value of ``data.name``.

    Raises:
        InputError: if the model has no inputs.
    """
    model_class = locate(class_path)
    has_inputs = inputs is not None or find_dataset(dataset).read_domains is not None
    if isinstance(model_class, type) and issubclass(model_class, ImageTranslation) and not has_inputs:
        raise InputError(
            f"{model_class.__name__} makes images from images, and the data has no inputs; set data.inputs"
        )


def check_inputs(model: object, data: ImageData) -> None:
    """Check that only models that make images from images have inputs, in pairs where they need them.

    Args:
        model: any model.
        data: the data that it is trained on.

    Raises:
        InputError: if the model and the data do not fit.
    """
    name = type(model).__name__
    if isinstance(model, Translator):
        if model.needs_pairs and not data.paired:
            raise InputError(f"{name} is trained on pairs, and the data is unpaired; set data.paired to true")
    elif data.input_shape is not None:
        remedy = "set data.name to folder" if data.inputs is None else "leave out data.inputs"
        raise InputError(f"{name} makes no images from images, and the data has inputs; {remedy}")


def check_processes(trainer: Trainer) -> None:
    """Check that there are not many more processes on the CPU than it has cores.

    Args:
        trainer: the Trainer.

    Raises:
        InputError: if there are more than ``PROCESSES_PER_CORE`` for each core.
    """
    cores = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > PROCESSES_PER_CORE * cores:
        raise InputError(
            f"trainer.devices is {trainer.num_devices} processes, and this machine has {cores} cores; use at most "
            f"{PROCESSES_PER_CORE * cores}"
        )
