"""Running a command, whose function imports PyTorch and Lightning."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from lightning_gen.cli.boundary import user_message
from lightning_gen.cli.commands import Command
from lightning_gen.cli.hints import name_flags
from lightning_gen.cli.library_messages import filter_messages, hold_warnings
from lightning_gen.cli.names import IMPORT_VARIABLE
from lightning_gen.cli.parsing import run_function
from lightning_gen.cli.yaml_loader import limit_yaml
from lightning_gen.errors import InputError


def execute(name: str, command: Command, options: Sequence[str]) -> int:
    """Run a command.

    Args:
        name: the command's name.
        command: its record.
        options: its options.

    Returns:
        The exit code: 0, or 2 for invalid input.
    """
    filter_messages()
    limit_yaml()
    with hold_warnings() as warnings:
        try:
            import_trusted_modules()
            function = command.load()
            if command.takes == "options":
                run_function(function, name, options)
            else:
                function(options)
        except Exception as error:
            message = user_message(error)
            if message is None:
                raise
            warnings.drop()
            print(f"error: {name_flags(message, command)}", file=sys.stderr)
            return 2
    return 0


def import_trusted_modules() -> None:
    """Import the modules named in ``LIGHTNING_GEN_IMPORT``: a checkpoint of a class in them can be loaded.

    Raises:
        InputError: if one cannot be imported.
    """
    for name in os.environ.get(IMPORT_VARIABLE, "").split():
        try:
            import_module(name)
        except ImportError as error:
            raise InputError(f"{IMPORT_VARIABLE} names {name}, which cannot be imported: {error}") from None
