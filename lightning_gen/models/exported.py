"""Exported models: a folder with the weights of the network object as safetensors, and how to build the model as JSON.

``config.json`` has the name of the model's class, its hyper-parameters and its progress. As with checkpoints, only
classes that are imported already are built, and neither file can hold code.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from lightning_gen.cache import atomic
from lightning_gen.errors import InputError
from lightning_gen.models.checkpoint_contents import (
    Check,
    check_tensors,
    has_string_keys,
    is_progress,
)
from lightning_gen.models.classes import class_name, find_class

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MAX_CONFIG_BYTES = 2**20
"""The largest size of a ``config.json`` that is read."""
TRAINING_FILES = ("init_from", "perceptual_weights", "teacher")
"""Hyper-parameters that name files of the machine of training, and that only training reads; exported as None."""
ENTRIES: dict[str, tuple[Check, str]] = {
    "class": (lambda value: isinstance(value, str), "the name of a class"),
    "hyper_parameters": (has_string_keys, "a dictionary of plain values"),
    "progress": (is_progress, "a dictionary of counts"),
    "weights": (lambda value: value in ("ema", "raw"), "ema or raw"),
}
"""The check of each required entry of ``config.json``, and what the entry has to be."""
Model = TypeVar("Model")


def is_exported(folder: Path) -> bool:
    """Whether a folder has the two files of an exported model."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def save_exported(model: Any, folder: Path, entries: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write ``config.json`` and ``model.safetensors``: the weights that the model samples with.

    Args:
        model: a ``GenerativeModule``.
        folder: the folder, which is created.
        entries: further entries of the configuration.

    Returns:
        The configuration.
    """
    hyper_parameters = {name: None if name in TRAINING_FILES else value for name, value in model.hparams.items()}
    config = {
        "library": "lightning_gen",
        "class": class_name(type(model)),
        "hyper_parameters": hyper_parameters,
        "progress": {name: getattr(model, name) for name in model.progress},
        "weights": "ema" if model.ema is not None and model.use_ema else "raw",
        **(entries or {}),
    }
    with model.inference_network() as network:
        # copies: safetensors takes neither views nor tensors that share memory
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    with atomic(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(tensors, metadata={"format": "pt"}))
    write_config(folder, config)
    return config


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write ``config.json``."""
    with atomic(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2, allow_nan=False) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """Read and check ``config.json``.

    Args:
        folder: the folder of an exported model.

    Returns:
        The configuration; its lists are tuples.

    Raises:
        InputError: if the file is missing, damaged or not of an exported model.
    """
    path = folder / CONFIG
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise InputError(f"{path} has more than {MAX_CONFIG_BYTES:,} bytes; it is not of an exported model")
        config = to_tuples(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(config, dict) or not ENTRIES.keys() <= config.keys():
        raise InputError(f"{path} is not of a model that lightning_gen exported; it needs {', '.join(ENTRIES)}")
    for name, (check, expected) in ENTRIES.items():
        if not check(config[name]):
            raise InputError(f"{path} is damaged: its entry {name} is not {expected}")
    return config


def to_tuples(value: Any) -> Any:
    """Replace the lists in a value by tuples, which the hyper-parameters of models are."""
    if isinstance(value, dict):
        return {name: to_tuples(item) for name, item in value.items()}
    return tuple(map(to_tuples, value)) if isinstance(value, list) else value


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file onto the CPU.

    Args:
        path: the file.

    Returns:
        The tensors by name.

    Raises:
        InputError: if the file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def load_exported(folder: Path, base: type[Model]) -> Model:
    """Build the model of an exported folder on the CPU, in eval mode.

    The weights are those of the network object and of its moving average. Discriminators are not exported, and have
    random weights.

    Args:
        folder: the folder.
        base: the base class of all models.

    Returns:
        The model.

    Raises:
        InputError: if a file cannot be read, the class is not known, or hyper-parameters or weights do not fit it.
    """
    config, path = read_config(folder), folder / CONFIG
    tensors = read_weights(folder / WEIGHTS)
    model_class = find_class(path, config["class"], base)
    try:
        model = cast(Any, model_class(**config["hyper_parameters"]))
    except Exception as error:  # the hyper-parameters are input: any value of any type
        raise InputError(f"{path} does not fit {model_class.__name__}: {error or type(error).__name__}") from error
    wanted = model.network.state_dict()
    check_tensors(folder / WEIGHTS, model_class.__name__, tensors, wanted)
    for name, value in wanted.items():
        if value.dtype.is_floating_point != tensors[name].dtype.is_floating_point:
            raise InputError(f"{folder / WEIGHTS} is damaged: {name} is {tensors[name].dtype}, not {value.dtype}")
    if config["progress"].keys() != {*model.progress}:
        raise InputError(f"{path} is damaged: its entry progress needs {', '.join(model.progress)}")
    for network in [model.network] if model.ema is None else [model.network, model.ema.module]:
        network.load_state_dict(tensors)
    for name, count in config["progress"].items():
        setattr(model, name, count)
    model.use_ema = config["weights"] == "ema"
    model.exported_folder = folder
    return cast(Model, model.eval())
