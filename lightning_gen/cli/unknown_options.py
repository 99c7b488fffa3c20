"""Errors of the parser about options that do not exist, with the nearest option that does."""

import re
from collections.abc import Iterable, Sequence
from pydoc import locate
from typing import Any

from jsonargparse import ArgumentParser

import lightning_gen.models
from lightning_gen.cli.commands import PROGRAM
from lightning_gen.cli.suggestions import nearest

UNKNOWN = (
    re.compile(r"unrecognized arguments: (\S+)"),
    re.compile(r"(?:Subcommand '\S+' does not accept|Group '\S+' does not accept) (?:option|nested key) '(\S+)'"),
)
"""How jsonargparse reports an option that no parser has."""
UNKNOWN_TO_CLASS = re.compile(
    r"^Parser key \"model\":.*class_path '(\S+)':\s+Option '(\S+)' is not accepted", re.DOTALL
)
"""How jsonargparse reports an argument that the constructor of the model does not have."""
FROM_DATA = ("image_shape", "num_classes", "input_shape")
"""Arguments of models that are properties of the data, and no options."""


def unknown_option(message: str, command: str, options: Iterable[str], model: str | None = None) -> str | None:
    """Explain an error about an option that does not exist.

    Args:
        message: the parser's message.
        command: the command, for the hint.
        options: the names of all options, without leading hyphens and without those of the model.
        model: name or import path of the model, if there is one.

    Returns:
        The option, the nearest valid one and where to see all; None for an error about anything else.
    """
    if match := UNKNOWN_TO_CLASS.search(message):
        class_path, name = match.groups()
        named = f"--model.{name} is not an option of {class_path.rpartition('.')[2]}"
        return named + suggest(f"model.{name}", model_options(class_path)) + model_help(class_path)
    matches = [match for pattern in UNKNOWN if (match := pattern.search(message))]
    if not matches:
        return None
    word = matches[0].group(1)
    if word.startswith("-") or "unrecognized" not in message:
        flag = word.partition("=")[0][:100]
        name = flag.lstrip("-")
        flag = flag if flag.startswith("-") else f"--{name}"
        suggestion = suggest(name, [*options, *(model_options(model) if model else ())])
        return f"{flag} is not an option of {command}{suggestion}; {PROGRAM} {command} --help shows all"
    return f"{word[:100]!r} is not the value of an option; {PROGRAM} {command} --help shows all options"


def suggest(name: str, options: Sequence[str]) -> str:
    """The part of a message that suggests an option, also one of that name in a section: ``max_epochs``."""
    found = nearest(name, options)
    if "." not in name:
        last = {option.rpartition(".")[2]: option for option in reversed(options)}
        found = last.get(name) or found or last.get(nearest(name, last) or "")
    return "" if found is None else f" (did you mean --{found}?)"


def model_help(class_path: str) -> str:
    """Where to see the options of a model."""
    module, _, name = class_path.rpartition(".")
    return f"; {PROGRAM} fit --model.help {name if module == lightning_gen.models.__name__ else class_path} shows all"


def model_options(class_path: str) -> list[str]:
    """The options of a model.

    Args:
        class_path: name of one of the package's models, or an import path.

    Returns:
        Their names, such as ``model.width``; none if there is no such class.
    """
    model: Any = getattr(lightning_gen.models, class_path, None) or locate(class_path)
    if not isinstance(model, type):
        return []
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(model, fail_untyped=False)  # also of the arguments that it passes to its base classes
    return [f"model.{name}" for name in names_of(parser) if name not in FROM_DATA]


def names_of(parser: ArgumentParser) -> list[str]:
    """The names of all options of a parser."""
    return [*parser.get_defaults().keys()]
