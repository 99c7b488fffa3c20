"""``list``: the models, configurations, datasets and sweeps, one line each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lightning_gen.cli.catalogue import DEFAULT_DATASET, configs, datasets, describe_model, models, sweeps
from lightning_gen.cli.config_files import LOADER
from lightning_gen.cli.suggestions import did_you_mean
from lightning_gen.errors import InputError


def show(words: Sequence[str]) -> None:
    """Print what can be named.

    Args:
        words: ``models``, ``configs``, ``datasets`` or ``sweeps``, or several of them; none for all.

    Raises:
        InputError: for another word.
    """
    if {"-h", "--help"} & {*words}:
        print(f"usage: lightning-gen list [{'|'.join(SECTIONS)}]\n\nlist the names that can be used, one line each")
        return
    for word in words:
        if word not in SECTIONS:
            raise InputError(
                f"there is no list of {word[:40]!r}{did_you_mean(word, SECTIONS)}; the lists are {', '.join(SECTIONS)}"
            )
    chosen = words or [*SECTIONS]
    for number, word in enumerate(chosen):
        title, rows = SECTIONS[word]
        print(*[""] * (number > 0), table(title, rows()), sep="\n")


def table(title: str, rows: Mapping[str, str]) -> str:
    """A title and one line per name, with the descriptions in a column."""
    width = max(map(len, rows), default=0) + 2
    return "\n".join([title, *(f"  {name:<{width}}{description}" for name, description in rows.items())])


def model_rows() -> dict[str, str]:
    """Every model with the first line of its docstring."""
    return {name: describe_model(name) for name in models()}


def config_rows() -> dict[str, str]:
    """Every configuration with its model, dataset and size of images."""
    return {name: describe_config(path) for name, path in configs().items()}


def describe_config(path: Path) -> str:
    """The model, the dataset and the size of the images of a configuration."""
    config: Any = yaml.load(path.read_text("utf-8"), Loader=LOADER)
    data = config["data"]
    size = data["image_size"]
    return f"{config['model']['class_path']} on {data.get('name', DEFAULT_DATASET)}, {size} x {size}"


def sweep_rows() -> dict[str, str]:
    """Every sweep file with the options that it varies."""
    files = {name: yaml.load(path.read_text("utf-8"), Loader=LOADER) for name, path in sweeps().items()}
    return {name: ", ".join(file["parameters"]) for name, file in files.items()}


SECTIONS: dict[str, tuple[str, Callable[[], dict[str, str]]]] = {
    "models": ("models, for --model (their options: lightning-gen fit --model.help NAME)", model_rows),
    "configs": ("configurations, for lightning-gen fit NAME", config_rows),
    "datasets": ("datasets, for --data.name", datasets),
    "sweeps": ("searches of hyper-parameters, for lightning-gen sweep --config NAME", sweep_rows),
}
"""The title of each list, and its rows."""
