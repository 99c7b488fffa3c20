"""Checks of the names on the command line and in its configurations, before anything is imported for them."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from lightning_gen.cli.catalogue import CONFIG, DATASET, MODEL, Kind, configs, models
from lightning_gen.cli.commands import Command
from lightning_gen.cli.config_files import CONFIG_OPTIONS, ENDINGS, LOADER, check_files
from lightning_gen.cli.inspections import name_first
from lightning_gen.cli.suggestions import did_you_mean
from lightning_gen.errors import InputError

IMPORT_VARIABLE = "LIGHTNING_GEN_IMPORT"
"""The environment variable with the modules, separated by spaces, of models of the user's own."""
NAME = re.compile(r"[A-Za-z]\w*")
OTHER_VALUES = ("null", "true", "false")
"""Words that are values of other types in YAML."""


def resolve(command: Command, options: Sequence[str]) -> list[str]:
    """Check the files and names of a command line, and replace names of configurations by their files.

    Args:
        command: the command.
        options: its options.

    Returns:
        The options in the form that ``command.takes`` states.

    Raises:
        InputError: for a file that cannot be read, and for a name that nothing has.
    """
    reads_configs = command.takes == "configs"
    resolved = [*options]
    if reads_configs and not options:
        raise InputError(
            "name a configuration, such as lightning-gen fit dcgan_digits (lightning-gen list configs), or a --model"
        )
    if reads_configs:
        resolved = with_config_files(options)
    elif command.takes == "inspection":
        resolved = name_first(options)
    check_files(resolved, are_configs=reads_configs)
    for option, kind in command.names.items():
        for value in values_of(resolved, option):
            for name in value.strip("[]").split(","):
                check(kind, name, option)
    if reads_configs:
        for option in CONFIG_OPTIONS:
            for path in values_of(resolved, option):
                check_names_in(path)
    return resolved


def with_config_files(options: Sequence[str]) -> list[str]:
    """Write every configuration of a command line as ``--config FILE``.

    Args:
        options: the options, perhaps after the names or files of configurations.

    Returns:
        The options alone.
    """
    words = [*takewhile(lambda word: not word.startswith("-"), options)]
    result = [part for word in words for part in ("--config", find_config(word))]
    previous = ""
    for option in options[len(words) :]:
        name, equals, value = option.partition("=")
        if previous in CONFIG_OPTIONS:
            result.append(find_config(option))
        elif equals and name in CONFIG_OPTIONS:
            result.append(f"{name}={find_config(value)}")
        else:
            result.append(option)
        previous = option
    return result


def find_config(word: str) -> str:
    """Find a configuration.

    Args:
        word: the name of one of the package's configurations, a file, or YAML.

    Returns:
        Its file; YAML as it is.

    Raises:
        InputError: if there is no such configuration or file.
    """
    if word in configs():
        return str(configs()[word])
    path = Path(word)
    if not word:
        raise InputError(f"the name of a configuration is empty; {CONFIG.advice}")
    if re.search(r"[{\n]|: ", word) or exists(path):
        return word
    if word in models():
        raise InputError(f"{word} is a model, not a configuration; name it with --model {word}")
    if path.suffix not in ENDINGS and path.name == word:
        CONFIG.check(word)
    suggestion = did_you_mean(word, neighbours(path)) or did_you_mean(path.stem, configs())
    raise InputError(f"there is no file {word}{suggestion}; {CONFIG.advice}")


def exists(path: Path) -> bool:
    """Whether there is a file or folder; False for what cannot be a path."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def neighbours(path: Path) -> list[str]:
    """The configurations in the folder of a path; none if it cannot be read."""
    with suppress(OSError, ValueError):
        return [str(path.parent / other.name) for other in path.parent.iterdir() if other.suffix in ENDINGS]
    return []


def values_of(options: Sequence[str], option: str) -> Iterator[str]:
    """The values of an option: the words after it, or the text after its equals sign."""
    name = ""
    for word in options:
        value = word
        if word.startswith("-"):
            name, _, value = word.partition("=")
        if name == option and value:
            yield value


def check(kind: Kind, name: str, where: str) -> None:
    """Check a name, unless it is something else: an import path, a value of another type, or a class of the user's."""
    name = name.strip()
    is_own_class = kind is MODEL and os.environ.get(IMPORT_VARIABLE)
    if NAME.fullmatch(name) and name not in OTHER_VALUES and not is_own_class:
        kind.check(name, where)


def check_names_in(path: str) -> None:
    """Check the names of model and dataset in a configuration file.

    Args:
        path: the file, which has passed ``check_files``; YAML instead of a file passes.
    """
    config = read_config(path)
    data = config.get("data")
    if name := model_in(config):
        check(MODEL, name, path)
    if isinstance(data, Mapping) and isinstance(data.get("name"), str):
        check(DATASET, data["name"], path)


def read_config(path: str) -> Mapping[str, Any]:
    """The content of a configuration file; nothing of a file that is none."""
    if not exists(Path(path)):
        return {}
    try:
        config = yaml.load(Path(path).read_text("utf-8"), Loader=LOADER)
    except yaml.YAMLError:
        return {}
    return config if isinstance(config, Mapping) else {}


def model_in(config: Mapping[str, Any]) -> str | None:
    """The name or import path of the model of a configuration."""
    model: Any = config.get("model")
    name = model.get("class_path") if isinstance(model, Mapping) else model
    return name if isinstance(name, str) else None


def model_of(options: Sequence[str]) -> str | None:
    """The name or import path of the model of a command line: that of an option, otherwise of the last configuration.

    Args:
        options: the options, with the files of configurations.

    Returns:
        The name; None if there is none.
    """
    named = [name for option in ("--model", "--model.class_path") for name in values_of(options, option)]
    read = [model_in(read_config(path)) for option in CONFIG_OPTIONS for path in values_of(options, option)]
    found = [name for name in (*read, *named) if name]
    return found[-1] if found else None
