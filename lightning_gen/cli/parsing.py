"""Typed functions as commands, and a parser's complaint in one line."""

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import get_type_hints

from jsonargparse import ArgumentParser

from lightning_gen.types import SamplingOptions


def run_function(function: Callable[..., None], name: str, args: Sequence[str]) -> None:
    """Run a function with its arguments taken from the command line by their types.

    The fields of an argument ``sampling: Sampling`` become options of their own: ``--steps 50``.

    Args:
        function: a documented function with typed arguments.
        name: the command's name, for its help.
        args: the command's options.
    """
    parser = ArgumentParser(prog=f"python -m lightning_gen {name}", exit_on_error=False)
    kinds = get_type_hints(function)
    parser.add_function_arguments(function, as_group=False, skip={"sampling"} if "sampling" in kinds else None)
    if "sampling" in kinds:
        parser.add_class_arguments(SamplingOptions, as_group=False)
        kinds |= get_type_hints(SamplingOptions)
    lists = [f"--{name}" for name, kind in kinds.items() if re.search(r"\b(list|tuple)\[", str(kind))]
    switches = [f"--{name}" for name, kind in kinds.items() if kind is bool]
    words = [f"{word}=true" if word in switches else word for word in args]
    values = parser.parse_args(gathered(words, lists)).as_dict()
    if "sampling" in kinds:
        values["sampling"] = SamplingOptions(
            **{field.name: values.pop(field.name) for field in fields(SamplingOptions)}
        )
    function(**values)


def gathered(args: Sequence[str], lists: Sequence[str]) -> list[str]:
    """Gather the values of options that take several: ``--metrics fid isc`` becomes ``--metrics=[fid,isc]``.

    Args:
        args: a command line.
        lists: the options that take several values.

    Returns:
        The command line for a parser that wants one value an option.
    """
    result: list[str] = []
    taking: list[str] | None = None
    for arg in [*args, "--"]:
        if arg.startswith("--"):
            if taking is not None:
                values = taking[1:]
                listed = values[0] if len(values) == 1 and values[0].startswith("[") else f"[{','.join(values)}]"
                result.append(f"{taking[0]}={listed}")
            taking = [arg] if arg in lists else None
            name, _, value = arg.partition("=")
            if name in lists and value and not value.startswith("["):
                arg = f"{name}=[{value}]"
        if taking is None:
            result.append(arg)
        elif arg not in lists:
            taking.append(arg)
    return result[:-1]


def condensed(message: str) -> str:
    """Reduce a message to one line; of the parser's nested report of a value, what was wrong in the end.

    Args:
        message: the message.

    Returns:
        One line.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    keys = re.findall(r'Parser key "([^"]+)"', message)
    for line in lines:
        if "is not accepted" in line:
            return f"{keys[0] if keys else 'configuration'}: {line}"
        if len(keys) > 1 and line.startswith("Expected a") and "NoneType" not in line:
            return f"{'.'.join(keys)}: {line}".replace("typing.", "").replace("<class '", "").replace("'>", "")
    return re.sub(r"\s+", " ", message).strip()
