"""The parameters of a sweep file: W&B's distributions, sampled by Optuna.

The distributions are those of https://docs.wandb.ai/models/sweeps/sweep-config-keys that both can sample:

    constant                value
    categorical             values
    int_uniform, uniform    min, max
    q_uniform               min, max, q: a multiple of q
    log_uniform_values      min, max, uniform in the logarithm
    q_log_uniform_values    the same, rounded to a multiple of q
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from lightning_gen.errors import InputError

KEYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": ("min", "max"),
    "uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"),
    "log_uniform_values": ("min", "max"),
    "q_log_uniform_values": ("min", "max", "q"),
}
"""The keys of each distribution."""
LOGARITHMIC = ("log_uniform_values", "q_log_uniform_values")


@runtime_checkable
class Suggestions(Protocol):
    """What samples parameters: an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of several values."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from ``low`` to ``high``."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a search space.

    Attributes:
        name: the option of ``fit``, such as ``model.width``.
        distribution: a key of ``KEYS``.
        values: the values of a categorical parameter, or the one of a constant.
        low: smallest value of a number.
        high: largest value of a number.
        quantum: the number of which values are multiples; None for any value.
    """

    name: str
    distribution: str
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    quantum: float | None = None

    @property
    def is_logarithmic(self) -> bool:
        """Whether it is uniform in the logarithm."""
        return self.distribution in LOGARITHMIC

    @property
    def is_searched(self) -> bool:
        """Whether it has more than one value."""
        return self.distribution != "constant"

    def suggest(self, trial: Suggestions) -> Any:
        """The value of the parameter in a trial."""
        if self.distribution == "constant":
            return self.values[0]
        if self.distribution == "categorical":
            return json.loads(trial.suggest_categorical(self.name, self.choices()))
        if self.distribution == "int_uniform":
            return trial.suggest_int(self.name, int(self.low), int(self.high))
        step = self.quantum if self.distribution == "q_uniform" else None
        value = trial.suggest_float(self.name, self.low, self.high, step=step, log=self.is_logarithmic)
        return value if self.quantum is None else multiple_of(value, self.quantum)

    def choices(self) -> list[Any]:
        """All values, as Optuna stores them: an integer of a range, or the JSON of a value.

        Returns:
            One item per value.

        Raises:
            InputError: for a range of numbers, which a grid cannot have.
        """
        if self.distribution == "int_uniform":
            return list(range(int(self.low), int(self.high) + 1))
        if not self.values:
            raise InputError(f"parameters.{self.name} is {self.distribution}; method grid needs values")
        return [json.dumps(value) for value in self.values]


def multiple_of(value: float, quantum: float) -> float:
    """The nearest multiple, as an integer if the quantum is one."""
    multiple = round(value / quantum) * quantum
    return int(multiple) if float(quantum).is_integer() else multiple


def read_parameter(name: str, entry: Any) -> Parameter:
    """Read an entry of ``parameters``.

    Args:
        name: the parameter's name.
        entry: its mapping in the file.

    Returns:
        The parameter.

    Raises:
        InputError: if the entry is none that both W&B and Optuna can sample.
    """
    if not isinstance(entry, Mapping):
        raise InputError(f"parameters.{name} is {entry!r}; it must be a mapping, such as {{min: 1, max: 8}}")
    distribution = entry.get("distribution", implied_distribution(entry))
    if distribution not in KEYS:
        named = (
            f"the distribution {distribution!r}" if "distribution" in entry else "neither value, values nor min and max"
        )
        raise InputError(f"parameters.{name} has {named}; the distributions are {', '.join(KEYS)}")
    keys = set(KEYS[distribution])
    if keys != entry.keys() - {"distribution"}:
        raise InputError(
            f"parameters.{name} has {', '.join(entry)}; {distribution} has {', '.join(KEYS[distribution])}"
        )
    if distribution == "constant":
        return Parameter(name, distribution, (entry["value"],))
    if distribution == "categorical":
        values = entry["values"]
        if not isinstance(values, list) or not values:
            raise InputError(f"parameters.{name}.values must be a list of values")
        return Parameter(name, distribution, tuple(values))
    return numeric_parameter(name, distribution, {key: entry[key] for key in keys})


def implied_distribution(entry: Mapping[str, Any]) -> str | None:
    """The distribution of an entry that does not name one, as W&B chooses it; None if it has no keys of any."""
    if "value" in entry:
        return "constant"
    if "values" in entry:
        return "categorical"
    if {"min", "max"} <= entry.keys():
        return "int_uniform" if all(isinstance(entry[key], int) for key in ("min", "max")) else "uniform"
    return None


def numeric_parameter(name: str, distribution: str, entry: Mapping[str, Any]) -> Parameter:
    """A parameter between two numbers; raises :class:`InputError` if they are none."""
    for key, value in entry.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
            raise InputError(f"parameters.{name}.{key} is {value!r}; it must be a number, such as 1.0e-4")
    low, high, quantum = entry["min"], entry["max"], entry.get("q")
    if not low < high:
        raise InputError(f"parameters.{name}: min is {low} and max is {high}; min must be smaller")
    if distribution in LOGARITHMIC and low <= 0:
        raise InputError(f"parameters.{name}.min is {low}; it must be above 0 for {distribution}")
    if quantum is not None and quantum <= 0:
        raise InputError(f"parameters.{name}.q is {quantum}; it must be above 0")
    if distribution == "int_uniform" and not all(float(value).is_integer() for value in (low, high)):
        raise InputError(f"parameters.{name}: min and max must be integers for int_uniform")
    return Parameter(name, distribution, (), low, high, quantum)


def as_option(name: str, value: Any) -> str:
    """A parameter's value as an option of the command line, such as ``--model.width=32``."""
    return f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
