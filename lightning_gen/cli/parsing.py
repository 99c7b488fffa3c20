"""Typed functions as commands, and a parser's complaint in one line."""

import re
from collections.abc import Callable, Sequence

from jsonargparse import ArgumentParser


def run_function(function: Callable[..., None], name: str, args: Sequence[str]) -> None:
    """Run a function with its arguments taken from the command line by their types.

    Args:
        function: a documented function with typed arguments.
        name: the command's name, for its help.
        args: the command's options.
    """
    parser = ArgumentParser(prog=f"python -m lightning_gen {name}", exit_on_error=False)
    parser.add_function_arguments(function, as_group=False)
    function(**parser.instantiate_classes(parser.parse_args(list(args))).as_dict())


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
