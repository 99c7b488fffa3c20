"""Range checks of numeric options, each raising :class:`InputError` with one line that names the option.

A value of None means that the option is not set, and passes. ``prefix`` is put before the option's name: ``model.`` for
hyper-parameters, ``--`` for options of the command line. ``note`` is added to the message's end.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from lightning_gen.errors import InputError

Number = float | int | None
LARGEST = 2**53
"""The largest valid absolute value of a whole number; beyond it, not every whole number is a floating-point number."""


def check_at_least(least: float, *, prefix: str = "model.", note: str = "", **values: Number) -> None:
    """Check that values are finite and not below a bound.

    Args:
        least: the smallest valid value.
        prefix: put before the option's name.
        note: added to the message.
        **values: values by option name.

    Raises:
        InputError: for the first value that is below ``least``, infinite or NaN.
    """
    for name, value in values.items():
        if value is not None and not least <= value < math.inf:
            bound = "must not be negative" if least == 0 else f"must be at least {least}"
            raise InputError(f"{prefix}{name} is {value}; it {bound}{note}")


def check_at_most(most: float, *, prefix: str = "model.", note: str = "", **values: Number) -> None:
    """Check that values are not above a bound.

    Args:
        most: the largest valid value.
        prefix: put before the option's name.
        note: added to the message.
        **values: values by option name.

    Raises:
        InputError: for the first value above ``most``.
    """
    for name, value in values.items():
        if value is not None and value > most:
            raise InputError(f"{prefix}{name} is {value}; it must be at most {most:,}{note}")


def check_above(bound: float, *, prefix: str = "model.", note: str = "", **values: Number) -> None:
    """Check that values are finite and above a bound.

    Args:
        bound: the largest invalid value.
        prefix: put before the option's name.
        note: added to the message.
        **values: values by option name.

    Raises:
        InputError: for the first value that is not above ``bound``, infinite or NaN.
    """
    for name, value in values.items():
        if value is not None and not bound < value < math.inf:
            raise InputError(f"{prefix}{name} is {value}; it must be above {bound}{note}")


def check_fraction(*, prefix: str = "model.", note: str = "", **values: Number) -> None:
    """Check that values lie in [0, 1).

    Args:
        prefix: put before the option's name.
        note: added to the message.
        **values: values by option name.

    Raises:
        InputError: for the first value outside [0, 1).
    """
    for name, value in values.items():
        if value is not None and not 0 <= value < 1:
            raise InputError(f"{prefix}{name} is {value}; it must be at least 0 and below 1{note}")


def check_numbers(values: Mapping[str, Any], *, prefix: str = "model.") -> None:
    """Check that all numbers among the values, and in their sequences and mappings, are finite.

    Args:
        values: values of any type, by option name.
        prefix: put before the option's name.

    Raises:
        InputError: for the first number that is NaN or infinite, or for a whole number beyond ``LARGEST``.
    """
    for name, value in values.items():
        for number in numbers_in(value):
            if isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"{prefix}{name} is {value}; it must be finite")
            if abs(number) > LARGEST and isinstance(number, int):
                raise InputError(f"{prefix}{name} has a number of {number.bit_length()} bits; at most 53 are valid")


def numbers_in(value: Any) -> Iterator[float | int]:
    """The numbers in a value: itself, or those in a sequence, a set or a mapping."""
    if isinstance(value, float | int):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from numbers_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from numbers_in(item)


def check_choice(choices: Collection[str], *, prefix: str = "model.", **values: str | None) -> None:
    """Check that values are among the choices.

    Args:
        choices: the valid values.
        prefix: put before the option's name.
        **values: values by option name.

    Raises:
        InputError: for the first other value, with the choices.
    """
    for name, value in values.items():
        if value is not None and value not in choices:
            raise InputError(f"{prefix}{name} is {value!r}; it must be one of {', '.join(choices)}")
