"""The command line: ``python -m lightning_gen COMMAND`` with fit, validate, test, evaluate, sample and inspect.

Bad input ends in one clear line and exit code 2; everything else that goes wrong keeps its traceback.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Sequence

from jsonargparse import ArgumentError
from lightning_fabric.utilities.exceptions import MisconfigurationException

from lightning_gen.cli.inspecting import inspect
from lightning_gen.cli.parsing import condensed, run_function
from lightning_gen.cli.sampling import sample
from lightning_gen.cli.scoring import evaluate
from lightning_gen.cli.training import TrainingCLI, train
from lightning_gen.errors import InputError

FUNCTIONS: dict[str, Callable[..., None]] = {"evaluate": evaluate, "sample": sample}


def main(args: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        args: the command's name and its options; those of the process when None.

    Returns:
        The exit code: 0, or 2 for input that cannot be used.
    """
    quieten()
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        if arguments and arguments[0] in FUNCTIONS:
            run_function(FUNCTIONS[arguments[0]], arguments[0], arguments[1:])
        elif arguments and arguments[0] == "inspect":
            inspect(arguments[1:])
        elif arguments and arguments[0] in TrainingCLI.subcommands():
            train(arguments)
        else:
            commands = ", ".join([*TrainingCLI.subcommands(), *FUNCTIONS, "inspect"])
            if arguments and arguments[0] not in ("-h", "--help"):
                raise InputError(f"there is no command {arguments[0]!r}; the commands are {commands}")
            print(f"usage: python -m lightning_gen COMMAND [--help] ...\ncommands: {commands}")
    except (InputError, MisconfigurationException, ArgumentError, ValueError) as error:
        reason = said_by(error)
        if reason is None:
            raise
        print(f"error: {condensed(reason)}", file=sys.stderr)
        return 2
    return 0


def said_by(error: BaseException) -> str | None:
    """What to tell the user of an error: of one that the parser wrapped, the message within.

    Args:
        error: what was raised.

    Returns:
        The message, or None for an error that is not the user's to mend.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return str(cause)
        cause = cause.__cause__
    return str(error) if isinstance(error, MisconfigurationException | ArgumentError) else None


def quieten() -> None:
    """Silence what Lightning says of itself and its partners at each start."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*no `validation_step`.*",
        "Detected call of `lr_scheduler.step",  # with n_critic > 1 the generator's first step comes later
    ):
        warnings.filterwarnings("ignore", message)
