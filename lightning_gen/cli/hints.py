"""The options that messages name, as flags of the command at hand.

The data module names its options as keys of a configuration: ``data.root``. For ``fit`` this is the flag
``--data.root``; for a command that rebuilds the data of a checkpoint it is ``--root``, and the other options are those
that the checkpoint was trained with.
"""

import inspect
import re

from lightning_gen.cli.commands import Command
from lightning_gen.data import ImageData

DATA_OPTIONS = "|".join(inspect.signature(ImageData).parameters)
DATA_OPTION = re.compile(rf"(?<![\w./-])data\.({DATA_OPTIONS})\b(?![./])")
DOWNLOAD = re.compile(r",? or set data\.download to true")


def name_flags(message: str, command: Command) -> str:
    """Write the options of the data in a message as flags of a command.

    Args:
        message: a message.
        command: the command.

    Returns:
        The message.
    """
    if command.takes == "configs":
        message = message.replace("set data.download to true", "set --data.download true")
        return DATA_OPTION.sub(r"--data.\1", message)
    return re.sub(r"(?<![\w./-])data\.root\b", "--root", DOWNLOAD.sub("", message))
