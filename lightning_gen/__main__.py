"""``python -m lightning_gen``."""

import sys
from collections.abc import Sequence
from importlib import import_module

import lightning_gen.openmp  # noqa: F401 (before torch)
from lightning_gen.environment import check_environment
from lightning_gen.errors import InputError


def main(args: Sequence[str] | None = None) -> int:
    """Check the environment, which libraries read when they are imported, and run a command.

    Args:
        args: the command's name and its options. None: those of the process.

    Returns:
        The exit code: 0, or 2 for invalid input.
    """
    try:
        check_environment()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return int(import_module("lightning_gen.cli").main(args))  # now, since it imports those libraries


if __name__ == "__main__":
    sys.exit(main())
