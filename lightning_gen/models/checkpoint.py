"""Finding and loading checkpoints safely: only tensors and plain values are read, and no code is run or imported."""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from lightning_gen.errors import InputError
from lightning_gen.models.base import GenerativeModule
from lightning_gen.models.checkpoint_contents import check_contents, check_tensors, has_string_keys
from lightning_gen.models.classes import class_name, find_class
from lightning_gen.models.exported import WEIGHTS, is_exported, load_exported, read_config


def find_checkpoint(path: Path, order: Sequence[str] = ("best", "last")) -> Path:
    """Find the checkpoint in a path.

    Args:
        path: a checkpoint, a run's folder, the folder of an experiment (its newest run), or the folder of an exported
            model.
        order: names of a run's checkpoints; the first one that exists is taken.

    Returns:
        The path of the checkpoint file, or of the weights of the exported model.

    Raises:
        InputError: if there is none.
    """
    if is_exported(path):
        return path / WEIGHTS
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"no checkpoint at {path}: name a .ckpt file or a run's folder")
        return path
    for run in (path, *sorted(path.iterdir(), reverse=True)):  # a run's folder is named by its start time
        for name in order:
            if (run / "checkpoints" / f"{name}.ckpt").is_file():
                return run / "checkpoints" / f"{name}.ckpt"
    raise InputError(
        f"no checkpoints/best.ckpt or checkpoints/last.ckpt in {path}: name a .ckpt file or a run's folder"
    )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this suite onto the CPU, without running code that it may contain.

    Args:
        path: the file.

    Returns:
        The checkpoint's dictionary.

    Raises:
        InputError: if the file is missing, truncated, no checkpoint of this suite, contains anything but tensors and
            plain values, or an entry has a wrong type.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}")
    if path.name == WEIGHTS:
        raise InputError(f"{path.parent} is an exported model, without the state of training; name a checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its zip and pickle readers do
        if isinstance(error, UnpicklingError) and "GLOBAL" in str(error):
            raise InputError(f"{path} holds more than tensors and plain values and is not loaded") from None
        raise InputError(f"{path} is truncated or not a checkpoint") from None
    if not isinstance(checkpoint, dict) or not {"model_class", "state_dict", "hyper_parameters"} <= checkpoint.keys():
        raise InputError(f"{path} is not a checkpoint of lightning_gen")
    check_contents(path, checkpoint)
    return checkpoint


def load_model(path: Path) -> GenerativeModule[Any]:
    """Load the model of a checkpoint onto the CPU, in eval mode.

    Args:
        path: the checkpoint, or the weights of an exported model.

    Returns:
        The model.

    Raises:
        InputError: if the checkpoint cannot be read, its class is not known, or its weights do not match.
    """
    if path.name == WEIGHTS:
        return load_exported(path.parent, GenerativeModule)  # type: ignore[type-abstract]
    checkpoint = read_checkpoint(path)
    model_class = find_class(path, checkpoint["model_class"], GenerativeModule)  # type: ignore[type-abstract]
    try:
        model = model_class(**checkpoint["hyper_parameters"])
    except Exception as error:  # the hyper-parameters are input: any value of any type
        raise InputError(f"{path} does not fit {model_class.__name__}: {error or type(error).__name__}") from error
    check_fit(path, checkpoint, model)
    try:
        model.on_load_checkpoint(checkpoint)
        model.load_state_dict(checkpoint["state_dict"])
    except Exception as error:  # an entry is missing or has another form
        raise InputError(f"{path} is damaged: {error or type(error).__name__}") from error
    return model.eval()


def read_data_options(path: Path) -> dict[str, Any]:
    """Read the options of the data module that a model was trained with.

    Args:
        path: a checkpoint, or the weights of an exported model.

    Returns:
        The options by name; empty where they are unknown.

    Raises:
        InputError: if the file cannot be read.
    """
    if path.name == WEIGHTS:
        options: Any = read_config(path.parent).get("data")
    else:
        options = read_checkpoint(path).get("datamodule_hyper_parameters")
    return dict(options) if has_string_keys(options) else {}


def check_fit(path: Path, checkpoint: dict[str, Any], model: GenerativeModule[Any]) -> None:
    """Check that a checkpoint's class and weights match a model, without changing the model.

    Args:
        path: the checkpoint's file, for the message.
        checkpoint: the checkpoint's dictionary.
        model: the model.

    Raises:
        InputError: if the checkpoint is of another class, or its tensors have other names or shapes.
    """
    ours = class_name(type(model))
    if checkpoint["model_class"] != ours:
        raise InputError(f"{path} is of {checkpoint['model_class']}, and the configuration asks for {ours}")
    check_tensors(path, type(model).__name__, checkpoint["state_dict"], model.state_dict())
