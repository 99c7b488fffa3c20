"""Sweep files: W&B's format, of which the local sweep reads the same search space, metric, method and command."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightning_gen.errors import InputError
from lightning_gen.sweeps.parameters import Parameter, as_option, read_parameter

METHODS = ("bayes", "random", "grid")
GOALS = ("minimize", "maximize")
ENTRIES = (
    *("program", "method", "metric", "parameters", "command", "early_terminate", "run_cap"),
    *("name", "description", "project", "entity"),
)
"""The entries of a sweep file. The last four are W&B's alone."""
ARGUMENTS = "${args}"
"""Where the command has the parameters."""


@dataclass(frozen=True)
class Sweep:
    """A search for hyper-parameters.

    Attributes:
        method: ``bayes``, ``random`` or ``grid``.
        metric: the logged figure that is optimised, such as ``fidelity/fid``.
        maximize: whether larger values are better.
        parameters: the search space.
        options: the options of ``fit``, where ``ARGUMENTS`` stands for the parameters.
        halving: the number of scores before the first pruning and the factor by which trials become fewer, of W&B's
            ``early_terminate``; None for pruning by the median.
        num_trials: number of trials, ``run_cap``; None if the file does not say.
    """

    method: str
    metric: str
    maximize: bool
    parameters: tuple[Parameter, ...]
    options: tuple[str, ...]
    halving: tuple[int, int] | None = None
    num_trials: int | None = None

    @property
    def searched(self) -> tuple[Parameter, ...]:
        """The parameters that differ between trials."""
        return tuple(parameter for parameter in self.parameters if parameter.is_searched)

    def fit_options(self, values: Mapping[str, Any]) -> list[str]:
        """The options of ``fit`` with the parameters' values in their place."""
        arguments = [as_option(name, value) for name, value in values.items()]
        return [part for option in self.options for part in (arguments if option == ARGUMENTS else [option])]

    def is_better(self, score: float, other: float) -> bool:
        """Whether a score is better than another."""
        return score > other if self.maximize else score < other

    def best_of(self, scores: Sequence[float]) -> float:
        """The best of one or more scores."""
        return max(scores) if self.maximize else min(scores)


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Args:
        path: the file.

    Returns:
        The sweep.

    Raises:
        InputError: if the file cannot be read, or has an entry that is invalid.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--config {path} cannot be read: {' '.join(str(error).split())}") from None
    try:
        return parse_sweep(content, path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parse_sweep(content: Any, path: Path) -> Sweep:
    """Check the content of a sweep file; raises :class:`InputError` for an entry that is invalid."""
    if not isinstance(content, Mapping) or not {"parameters", "metric", "command"} <= content.keys():
        raise InputError("a sweep file has the entries metric, parameters and command")
    if unknown := [str(name) for name in content if name not in ENTRIES]:
        raise InputError(f"there is no entry {unknown[0]!r}; the entries are {', '.join(ENTRIES)}")
    method = content.get("method", "bayes")
    if method not in METHODS:
        raise InputError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
    metric, parameters, cap = content["metric"], content["parameters"], content.get("run_cap")
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str):
        raise InputError("metric.name must be the name of a logged figure, such as fidelity/fid")
    goal = metric.get("goal", "minimize")
    if goal not in GOALS:
        raise InputError(f"metric.goal is {goal!r}; it must be one of {', '.join(GOALS)}")
    if not isinstance(parameters, Mapping) or not parameters:
        raise InputError("parameters must be a mapping of options of fit, such as model.width: {values: [16, 32]}")
    if cap is not None and (not isinstance(cap, int) or cap < 1):
        raise InputError(f"run_cap is {cap!r}; it must be a number of trials, at least 1")
    space = tuple(read_parameter(str(name), entry) for name, entry in parameters.items())
    if not any(parameter.is_searched for parameter in space):
        raise InputError("parameters are all constant; give one of them values, or min and max")
    if method == "grid":
        for parameter in space:
            parameter.choices()
    return Sweep(
        method,
        metric["name"],
        goal == "maximize",
        space,
        fit_options(content["command"], path),
        halving_of(content.get("early_terminate")),
        cap,
    )


def fit_options(command: Any, path: Path) -> tuple[str, ...]:
    """The options of ``fit`` in a command, whatever starts it: ``train.py``, ``lightning-gen``, ``python -m``.

    Args:
        command: the entry ``command``: a list, or one text.
        path: the sweep file; configurations are searched in its folder and those above, if they are not in the
            working folder.

    Returns:
        The options.

    Raises:
        InputError: if the command does not run ``fit`` with the parameters.
    """
    words = command.split() if isinstance(command, str) else command
    if not isinstance(words, list) or "fit" not in words or ARGUMENTS not in words:
        raise InputError(f"command must run fit with the parameters, such as [lightning-gen, fit, ..., '{ARGUMENTS}']")
    options = [str(word) for word in words[words.index("fit") + 1 :]]
    return tuple(
        existing(option, path.resolve()) if option.endswith((".yaml", ".yml")) else option for option in options
    )


def existing(name: str, sweep_file: Path) -> str:
    """The path of a configuration: in the working folder, or else in a folder above the sweep file."""
    found = [folder / name for folder in (Path(), *sweep_file.parents) if (folder / name).is_file()]
    return str(found[0]) if found else name


def halving_of(entry: Any) -> tuple[int, int] | None:
    """W&B's ``early_terminate`` as (scores before the first pruning, factor); None for None."""
    if entry is None:
        return None
    if not isinstance(entry, Mapping) or entry.get("type") != "hyperband" or not isinstance(entry.get("min_iter"), int):
        raise InputError("early_terminate must be {type: hyperband, min_iter: NUMBER OF SCORES}")
    first, factor = entry["min_iter"], entry.get("eta", 3)
    if first < 1 or not isinstance(factor, int) or factor < 2:
        raise InputError("early_terminate: min_iter must be at least 1, and eta an integer of at least 2")
    return first, factor
