"""The command line: ``python -m lightning_gen COMMAND`` with a command of ``COMMANDS``.

Invalid input is reported in one line, with exit code 2. Every other error keeps its traceback.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module

from lightning_gen.cli.boundary import user_message
from lightning_gen.cli.config_files import check_files, limit_yaml
from lightning_gen.cli.exporting import export
from lightning_gen.cli.inspecting import inspect
from lightning_gen.cli.parsing import run_function
from lightning_gen.cli.sampling import sample
from lightning_gen.cli.scoring import evaluate
from lightning_gen.cli.training import TrainingCLI, train
from lightning_gen.cli.translating import translate
from lightning_gen.environment import check_environment
from lightning_gen.errors import InputError

IMPORT_VARIABLE = "LIGHTNING_GEN_IMPORT"
"""The environment variable with the modules, separated by spaces, of models of the user's own."""
FUNCTIONS: dict[str, Callable[..., None]] = {
    "evaluate": evaluate,
    "sample": sample,
    "translate": translate,
    "export": export,
}
"""The commands that are functions; their arguments are the options."""
COMMANDS = {
    "fit": "train a model, or resume a run",
    "validate": "report the loss on the validation split",
    "test": "report the loss on the test split",
    "evaluate": "score a checkpoint against its dataset, or a folder of images against another",
    "sample": "generate images from a checkpoint",
    "translate": "translate or enlarge image files by a checkpoint",
    "export": "write a model to a folder that can be shared: safetensors, model card, ONNX",
    "inspect": "analyse a checkpoint: reconstructions, interpolations, neighbours, anomalies, ...",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        args: the command's name and its options. None: those of the process.

    Returns:
        The exit code: 0, or 2 for invalid input.
    """
    filter_messages()
    limit_yaml()
    command, *options = [*(sys.argv[1:] if args is None else args)] or ["--help"]
    try:
        check_environment()
        check_files(options, are_configs=command in TrainingCLI.subcommands())
        import_trusted_modules()
        if command in FUNCTIONS:
            run_function(FUNCTIONS[command], command, options)
        elif command == "inspect":
            inspect(options)
        elif command in TrainingCLI.subcommands():
            train([command, *options])
        elif command in ("-h", "--help"):
            print("usage: python -m lightning_gen COMMAND [--help] ...\n\ncommands:")
            print(*(f"  {name:<10}{summary}" for name, summary in COMMANDS.items()), sep="\n")
        else:
            raise InputError(f"there is no command {command[:40]!r}; the commands are {', '.join(COMMANDS)}")
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
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


def filter_messages() -> None:
    """Suppress Lightning's start-up messages, and its warnings about things that are intended here."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*no `validation_step`.*",
        "Detected call of `lr_scheduler.step",  # with n_critic > 1 the generator's first step comes later
        ".*sync_dist=True.*",  # a value that is logged without it is the same on every rank
        "Checkpoint directory .* exists and is not empty",  # of a resumed run
        ".*callbacks used to create the checkpoint need to be provided",  # the options of a resumed run may change
    ):
        warnings.filterwarnings("ignore", message)
