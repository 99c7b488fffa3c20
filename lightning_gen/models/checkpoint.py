"""Finding and loading checkpoints safely: only tensors and plain values are read, and no code is run or imported."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from lightning_gen.errors import InputError
from lightning_gen.models.base import GenerativeModule
from lightning_gen.models.checkpoint_contents import check_contents


def find_checkpoint(path: Path, order: Sequence[str] = ("best", "last")) -> Path:
    """Find the checkpoint in a path.

    Args:
        path: a checkpoint, a run's folder, or the folder of an experiment (its newest run).
        order: names of a run's checkpoints; the first one that exists is taken.

    Returns:
        The path of the checkpoint file.

    Raises:
        InputError: if there is none.
    """
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
        path: the checkpoint.

    Returns:
        The model.

    Raises:
        InputError: if the checkpoint cannot be read, its class is not known, or its weights do not match.
    """
    checkpoint = read_checkpoint(path)
    model_class = find_model_class(path, checkpoint["model_class"])
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


def find_model_class(path: Path, name: str) -> type[GenerativeModule[Any]]:
    """The model class of a name in a checkpoint, among those that are imported already: nothing is imported.

    Args:
        path: the checkpoint's file, for the message.
        name: the module and the qualified name of the class.

    Returns:
        The class: a model of this suite, or a subclass of :class:`GenerativeModule` that the process has imported.

    Raises:
        InputError: if there is none.
    """
    for model_class in imported_subclasses(GenerativeModule):  # type: ignore[type-abstract]
        if f"{model_class.__module__}.{model_class.__qualname__}" == name:
            return model_class
    raise InputError(
        f"{path} is of {name}, which is not a model of lightning_gen; if you trust the module of a class of your own, "
        "name it in the environment variable LIGHTNING_GEN_IMPORT"
    )


def imported_subclasses(model_class: type[GenerativeModule[Any]]) -> Iterator[type[GenerativeModule[Any]]]:
    """All subclasses of a class, direct and indirect."""
    for subclass in model_class.__subclasses__():
        yield subclass
        yield from imported_subclasses(subclass)


def check_fit(path: Path, checkpoint: dict[str, Any], model: GenerativeModule[Any]) -> None:
    """Check that a checkpoint's class and weights match a model, without changing the model.

    Args:
        path: the checkpoint's file, for the message.
        checkpoint: the checkpoint's dictionary.
        model: the model.

    Raises:
        InputError: if the checkpoint is of another class, or its tensors have other names or shapes.
    """
    ours = f"{type(model).__module__}.{type(model).__qualname__}"
    if checkpoint["model_class"] != ours:
        raise InputError(f"{path} is of {checkpoint['model_class']}, and the configuration asks for {ours}")
    saved = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name in sorted(saved.keys() | wanted.keys()):
        if saved.get(name) != wanted.get(name):
            raise InputError(
                f"{path} does not fit the configured {type(model).__name__}: {name} is {saved.get(name, 'absent')} in "
                f"the checkpoint and {wanted.get(name, 'absent')} in the model"
            )
