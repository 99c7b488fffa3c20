"""Checks of what a checkpoint contains, so that a damaged or hostile file is one clear line and not a traceback."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lightning_gen.errors import InputError

MAX_COUNT = 2**63
"""Counts of images, batches and epochs are below this number."""
MAX_DEPTH = 32
Check = Callable[[Any], bool]


def check_contents(path: Path, checkpoint: dict[str, Any]) -> None:
    """Check the types of a checkpoint's entries. An entry that is absent passes, since evaluation needs few of them.

    Args:
        path: the checkpoint's file, for the message.
        checkpoint: the dictionary, read with ``weights_only=True``.

    Raises:
        InputError: for the first entry of another type.
    """
    for name, (check, expected) in ENTRIES.items():
        if name in checkpoint and not check(checkpoint[name]):
            raise InputError(f"{path} is damaged: its entry {name} is not {expected}")


def check_tensors(path: Path, model: str, saved: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Check that the tensors of a file have the names and shapes of a model's.

    Args:
        path: the file, for the message.
        model: name of the model's class.
        saved: the file's tensors.
        wanted: the model's.

    Raises:
        InputError: for the first tensor that is absent on one side, or has another shape.
    """
    shapes, wanted_shapes = ({name: tuple(value.shape) for name, value in state.items()} for state in (saved, wanted))
    for name in sorted(shapes.keys() | wanted_shapes.keys()):
        if shapes.get(name) != wanted_shapes.get(name):
            raise InputError(
                f"{path} does not fit the configured {model}: {name} is {shapes.get(name, 'absent')} in the checkpoint "
                f"and {wanted_shapes.get(name, 'absent')} in the model"
            )


def check_optimizer(optimizer: Optimizer) -> None:
    """Check that the state of an optimizer, which may come from a checkpoint, fits its parameters.

    Args:
        optimizer: the optimizer.

    Raises:
        InputError: if a tensor of the state has another shape than its parameter, or a learning rate is not a finite
            number.
    """
    for group in optimizer.param_groups:
        if not is_rate(group.get("lr")):
            raise InputError(f"an optimizer's learning rate is {group.get('lr')}; it must be a finite number")
        for parameter in group["params"]:
            for name, value in optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor) and value.numel() != 1 and value.shape != parameter.shape:
                    raise InputError(
                        f"the checkpoint's optimizer state {name} is {tuple(value.shape)}; its parameter is "
                        f"{tuple(parameter.shape)}"
                    )


def difference(saved: Any, current: Any, place: str) -> str | None:
    """How the saved state of a training loop differs in structure from that of a new one.

    Args:
        saved: the saved state: nested dictionaries of counts.
        current: the state of a new loop. An empty dictionary accepts any plain values.
        place: the name of the state, for the message.

    Returns:
        What differs, or None.
    """
    if isinstance(current, dict):
        if not isinstance(saved, dict):
            return f"{place} is not a dictionary"
        if not current:
            return None if is_plain(saved) else f"{place} has entries that are not plain values"
        if set(saved) != set(current):
            return f"{place} has other entries"
        found = (difference(saved[name], current[name], f"{place}.{name}") for name in current)
        return next((text for text in found if text is not None), None)
    if isinstance(current, bool):
        return None if isinstance(saved, bool) else f"{place} is not true or false"
    return None if is_count(saved) else f"{place} is not a count"


def is_count(value: Any) -> bool:
    """Whether a value is an int from 0 to 2^63 - 1."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT


def is_rate(value: Any) -> bool:
    """Whether a value is a learning rate: a finite number that is not negative, also as a tensor of one number."""
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    return isinstance(number, int | float) and 0 <= number < math.inf


def is_plain(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether a value consists of None, numbers, strings, tensors, and lists, tuples and dictionaries of them.

    Args:
        value: the value.
        depth: how deep it may be nested.

    Returns:
        True or False.
    """
    if depth == 0:
        return False
    if isinstance(value, dict):
        return all(isinstance(key, str | int) and is_plain(item, depth - 1) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(is_plain(item, depth - 1) for item in value)
    return value is None or isinstance(value, bool | int | float | str | Tensor)


def has_string_keys(value: Any) -> bool:
    """Whether a value is a dictionary of plain values by name."""
    return isinstance(value, dict) and all(isinstance(key, str) for key in value) and is_plain(value)


def is_state(value: Any) -> bool:
    """Whether a value is a state dictionary of tensors."""
    return isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def is_progress(value: Any) -> bool:
    """Whether a value is a dictionary of counts, or None, by name."""
    return has_string_keys(value) and all(count is None or is_count(count) for count in value.values())


def is_optimizer_state(value: Any) -> bool:
    """Whether a value has the form of ``Optimizer.state_dict()``."""
    if not has_string_keys(value) or not {"state", "param_groups"} <= value.keys():
        return False
    states, groups = value["state"], value["param_groups"]
    return (
        isinstance(states, dict)
        and all(is_count(key) and isinstance(state, dict) for key, state in states.items())
        and isinstance(groups, list)
        and all(isinstance(group, dict) and is_rate(group.get("lr")) and "params" in group for group in groups)
    )


def is_numbers(value: Any) -> bool:
    """Whether a value is a dictionary of numbers by name."""
    return has_string_keys(value) and all(isinstance(item, int | float) for item in value.values())


def is_log(value: Any) -> bool:
    """Whether a value is the position of the loggers: the complete rows, the row to log first, and its step."""
    if not has_string_keys(value) or {"rows", "row", "step"} != value.keys() or not has_string_keys(value["row"]):
        return False
    is_row = all(isinstance(item, int | float | str) for item in value["row"].values())
    return is_row and is_count(value["rows"]) and (value["step"] is None or is_count(value["step"]))


def is_list_of(check: Check) -> Check:
    """A check that a value is a list whose items all pass a check."""
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


def is_dictionaries(value: Any) -> bool:
    """Whether a value is a dictionary of dictionaries of plain values, by name."""
    return has_string_keys(value) and all(isinstance(item, dict) for item in value.values())


ENTRIES: dict[str, tuple[Check, str]] = {
    "model_class": (lambda value: isinstance(value, str), "the name of a class"),
    "state_dict": (is_state, "a dictionary of tensors"),
    "hyper_parameters": (has_string_keys, "a dictionary of plain values"),
    "datamodule_hyper_parameters": (has_string_keys, "a dictionary of plain values"),
    "progress": (is_progress, "a dictionary of counts"),
    "last_terms": (is_numbers, "a dictionary of numbers"),
    "rank_buffers": (is_list_of(is_state), "a list of dictionaries of tensors"),
    "log": (is_log, "the position of the loggers"),
    "epoch": (is_count, "a count"),
    "global_step": (is_count, "a count"),
    "pytorch-lightning_version": (lambda value: isinstance(value, str), "a version"),
    "callbacks": (is_dictionaries, "a dictionary of the callbacks' states"),
    "loops": (is_dictionaries, "a dictionary of the loops' states"),
    "optimizer_states": (is_list_of(is_optimizer_state), "a list of optimizers' states"),
    "lr_schedulers": (is_list_of(has_string_keys), "a list of schedules' states"),
}
"""The check of each entry, and what the entry has to be."""
