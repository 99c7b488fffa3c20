"""Range checks of numeric options, each raising :class:`InputError` with one line that names the option.

A value of None means that the option is not set, and passes. ``prefix`` is put before the option's name: ``model.`` for
hyper-parameters, ``--`` for options of the command line. ``note`` is added to the message's end.
"""

import math
from collections.abc import Collection

from lightning_gen.errors import InputError

Number = float | int | None


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
