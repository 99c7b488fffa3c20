"""The command line: ``lightning-gen COMMAND`` with a command of ``COMMANDS``.

Invalid input is reported in one line, with exit code 2. Every other error keeps its traceback. Names are checked before
PyTorch and Lightning are imported, which takes seconds.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

import lightning_gen
from lightning_gen.cli import inspections
from lightning_gen.cli.commands import PROGRAM, find_command, usage
from lightning_gen.cli.messages import clip_words
from lightning_gen.cli.names import resolve
from lightning_gen.environment import check_environment
from lightning_gen.errors import InputError

EXECUTION = "lightning_gen.cli.execution"
"""The module that runs commands; it is imported late."""


def main(args: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        args: the command's name and its options. None: those of the process.

    Returns:
        The exit code: 0, or 2 for invalid input.
    """
    name, *options = [*(sys.argv[1:] if args is None else args)] or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"{PROGRAM} {lightning_gen.__version__}")
        return 0
    try:
        check_environment()
        command = find_command(name)
        options = resolve(command, options)
        if command.takes == "inspection" and options == ["--help"]:
            print(inspections.usage())
            return 0
        if command.is_light:
            command.load()(options)
            return 0
    except InputError as error:
        print(f"error: {clip_words(str(error))}", file=sys.stderr)
        return 2
    return int(import_module(EXECUTION).execute(name, command, options))
