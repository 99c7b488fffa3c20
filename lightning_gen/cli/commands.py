"""The commands, one record each: what they do, and the function that is imported when one of them runs."""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from lightning_gen.cli.catalogue import DATASET, METRIC, MODEL, SAMPLER, Kind, configs
from lightning_gen.cli.suggestions import did_you_mean
from lightning_gen.errors import InputError

PROGRAM = "lightning-gen"
NO_NAMES: Mapping[str, Kind] = MappingProxyType({})
TRAINING_NAMES = {"--model": MODEL, "--model.class_path": MODEL, "--model.help": MODEL, "--data.name": DATASET}
SAMPLING_NAMES = {"--sampler": SAMPLER}


class Command(NamedTuple):
    """A command of the command line.

    Attributes:
        summary: one line for the help.
        function: ``module:function``; the module is imported when the command runs.
        takes: ``options``: the function's arguments, with their types, are the options; ``configs``: the command line,
            in which every configuration is an option ``--config FILE``; ``inspection``: the command line, which starts
            with the name of an inspection; ``words``: the command line.
        names: the options whose values are checked before the function is imported, and what they name.
        is_light: whether the function imports neither PyTorch nor Lightning.
    """

    summary: str
    function: str
    takes: Literal["options", "configs", "inspection", "words"] = "options"
    names: Mapping[str, Kind] = NO_NAMES
    is_light: bool = False

    def load(self) -> Callable[..., None]:
        """Import the function."""
        module, _, name = self.function.partition(":")
        loaded: Any = getattr(import_module(module), name)
        return loaded


COMMANDS = {
    "list": Command(
        "list the models, configurations and datasets", "lightning_gen.cli.listing:show", "words", is_light=True
    ),
    "fit": Command("train a model, or resume a run", "lightning_gen.cli.training:fit", "configs", TRAINING_NAMES),
    "validate": Command(
        "report the loss on the validation split", "lightning_gen.cli.training:validate", "configs", TRAINING_NAMES
    ),
    "test": Command("report the loss on the test split", "lightning_gen.cli.training:test", "configs", TRAINING_NAMES),
    "evaluate": Command(
        "score a checkpoint against its dataset, or a folder of images against another",
        "lightning_gen.cli.scoring:evaluate",
        names={"--metrics": METRIC, **SAMPLING_NAMES},
    ),
    "sample": Command("generate images from a checkpoint", "lightning_gen.cli.sampling:sample", names=SAMPLING_NAMES),
    "sweep": Command("search hyper-parameters on this machine, by a sweep file", "lightning_gen.cli.sweeping:sweep"),
    "translate": Command(
        "translate or enlarge image files by a checkpoint",
        "lightning_gen.cli.translating:translate",
        names=SAMPLING_NAMES,
    ),
    "export": Command(
        "write a model to a folder that can be shared: safetensors, samples, model card, ONNX",
        "lightning_gen.cli.exporting:export",
    ),
    "inspect": Command(
        "analyse a checkpoint: reconstructions, interpolations, neighbours, anomalies, ...",
        "lightning_gen.cli.inspecting:inspect",
        "inspection",
        SAMPLING_NAMES,
    ),
    "compare": Command(
        "compare runs: a table, curves and pictures, as text, PNG and one HTML page",
        "lightning_gen.cli.comparing:compare",
        "words",
    ),
}


def find_command(name: str) -> Command:
    """Look up a command.

    Args:
        name: its name.

    Returns:
        The command.

    Raises:
        InputError: if there is none of that name, with the nearest name.
    """
    if name in configs():
        raise InputError(f"{name} is a configuration, not a command: {PROGRAM} fit {name}")
    if name not in COMMANDS:
        suggestion = did_you_mean(name, COMMANDS)
        raise InputError(f"there is no command {name[:40]!r}{suggestion}; the commands are {', '.join(COMMANDS)}")
    return COMMANDS[name]


def usage() -> str:
    """The help of the program: every command with its summary."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND [--help] ...",
            "",
            "commands:",
            *lines,
            "",
            f"{PROGRAM} fit dcgan_digits trains a first model; {PROGRAM} COMMAND --help shows a command's options.",
        ]
    )
