"""What a run's folder says about the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lightning_gen.cache import DAMAGE
from lightning_gen.comparison.curves import Curve, read_curves
from lightning_gen.comparison.scores import Key, Score, read_scores
from lightning_gen.errors import InputError

PICTURES = ("samples", "translations", "reconstructions", "interpolation")
"""Kinds of pictures, from the one that says most about a model."""
MAX_DEPTH = 3
"""How deep below a given folder runs are searched: runs/sweeps/<name>/<run>."""


class Settings(NamedTuple):
    """What the configuration says: the model's class, the dataset, and all values of model and data by their keys."""

    model: str
    data: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A run.

    Attributes:
        folder: its folder.
        name: what tells it from the others: the name of its experiment, with its time if there are several of it.
        settings: its model, data and further settings.
        curves: its figures over images seen, by name.
        scores: its newest scores, by score and protocol.
        picture: its newest picture; None without one.
    """

    folder: Path
    name: str
    settings: Settings
    curves: Mapping[str, Curve]
    scores: Mapping[Key, Score]
    picture: Path | None

    @property
    def images_seen(self) -> int | None:
        """The number of images that the model was trained on; None if nothing was logged."""
        return max((curve.images_seen[-1] for curve in self.curves.values()), default=None)

    @property
    def seconds(self) -> float | None:
        """Duration of the run, with scores and pictures; None if it was not logged."""
        curve = self.curves.get("speed/seconds")
        return None if curve is None else curve.values[-1]


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Find the folders of runs.

    Args:
        paths: folders of runs, or folders that contain them, such as that of an experiment.

    Returns:
        The folders, each once: those of a path in the order of their names.

    Raises:
        InputError: if a path is no folder, or there is no run in any.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"there is no {path}; name folders of runs, such as runs/*")
        found += runs_below(path, MAX_DEPTH)
    if not found:
        raise InputError(f"no run in {', '.join(map(str, paths))[:200]}; a run's folder has metrics.csv or config.yaml")
    return list(dict.fromkeys(found))


def runs_below(folder: Path, depth: int) -> list[Path]:
    """The folder itself if it is that of a run, otherwise the runs in it, down to a depth."""
    if not folder.is_dir():
        return []
    if (folder / "metrics.csv").is_file() or (folder / "config.yaml").is_file():
        return [folder]
    if depth == 0:
        return []
    return [run for child in sorted(folder.iterdir()) for run in runs_below(child, depth - 1)]


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read the runs in folders, see :func:`find_runs`."""
    folders = find_runs(paths)
    return [read_run(folder, name) for folder, name in zip(folders, names_of(folders), strict=True)]


def names_of(folders: Sequence[Path]) -> list[str]:
    """The shortest names that differ: that of the folder above a run's folder, both, or the whole paths."""
    paths = [folder.resolve() for folder in folders]
    candidates = [
        [path.parent.name or path.name for path in paths],
        [f"{path.parent.name}/{path.name}" for path in paths],
    ]
    experiments = candidates[0]
    candidates[0] = [short if experiments.count(short) == 1 else long for short, long in zip(*candidates, strict=True)]
    return next((names for names in candidates if len({*names}) == len(names)), [*map(str, paths)])


def read_run(folder: Path, name: str) -> Run:
    """Read what a run has written so far. What is missing is empty, so that a run that goes on can be read, too.

    Args:
        folder: the run's folder.
        name: what the run is called.

    Returns:
        The run.
    """
    return Run(
        folder,
        name,
        read_settings(folder / "config.yaml"),
        read_curves(folder / "metrics.csv"),
        read_scores(folder / "evaluation"),
        newest_picture(folder / "samples"),
    )


def read_settings(path: Path) -> Settings:
    """Read a run's configuration.

    Args:
        path: the file; without it, everything is unknown.

    Returns:
        The settings.

    Raises:
        InputError: if the file is no configuration.
    """
    if not path.is_file():
        return Settings("", "", {})
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        model, data = config["model"], config["data"]
        options = model.get("init_args") or {}
        values = {f"model.{name}": value for name, value in options.items()}
        values |= {f"data.{name}": value for name, value in data.items()}
        values["seed_everything"] = config.get("seed_everything")
        return Settings(str(model["class_path"]).rpartition(".")[2], str(data["name"]), values)
    except (*DAMAGE, yaml.YAMLError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} is not the configuration of a run: {reason}") from None


def newest_picture(folder: Path) -> Path | None:
    """The newest picture of the first kind of ``PICTURES`` that a run has made."""
    for kind in PICTURES:
        paths = sorted(folder.glob(f"{kind}_[0-9]*.png"))
        if paths:
            return paths[-1]
    return None


def differences(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The settings of each run that differ between runs of one model; empty for runs of several models."""
    if len({run.settings.model for run in runs}) != 1:
        return [{} for _ in runs]
    names = dict.fromkeys(name for run in runs for name in run.settings.values)
    different = [n for n in names if len({repr(run.settings.values.get(n)) for run in runs}) > 1]
    return [{name: run.settings.values.get(name) for name in different} for run in runs]
