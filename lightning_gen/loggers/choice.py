"""The loggers that ``--loggers`` names."""

from collections.abc import Collection, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers.logger import Logger

from lightning_gen.errors import InputError
from lightning_gen.loggers.csv import RunCSVLogger

LoggerName = Literal["csv", "wandb", "tensorboard", "mlflow"]
PACKAGES = {"wandb": "wandb", "tensorboard": "tensorboard", "mlflow": "mlflow"}
"""The package that a logger needs, which is also the name of the extra that installs it."""


def check_loggers(names: Collection[str]) -> None:
    """Check that the packages of loggers are installed.

    Args:
        names: names of loggers.

    Raises:
        InputError: if one is missing.
    """
    for name in names:
        package = PACKAGES.get(name)
        if package is not None and find_spec(package) is None:
            raise InputError(f"--loggers {name} needs the package {package}; pip install 'lightning_gen[{name}]'")


def make_loggers(names: Collection[str], run_folder: Path, experiment: str, wandb: Mapping[str, Any]) -> list[Logger]:
    """Create the loggers of a run.

    Args:
        names: names of loggers; the CSV file is written in any case.
        run_folder: the run's folder.
        experiment: the experiment's name.
        wandb: arguments of the W&B logger.

    Returns:
        The loggers, the CSV file first.
    """
    name = f"{experiment}/{run_folder.name}"
    loggers: list[Logger] = [RunCSVLogger(run_folder)]
    # the modules import packages that may be missing
    if "wandb" in names:
        loggers.append(import_module("lightning_gen.loggers.wandb").WandbRunLogger(run_folder, name=name, **wandb))
    if "tensorboard" in names:
        loggers.append(import_module("lightning_gen.loggers.tensorboard").RunTensorBoardLogger(run_folder))
    if "mlflow" in names:
        loggers.append(import_module("lightning_gen.loggers.mlflow").RunMLFlowLogger(run_folder, experiment, name))
    return loggers
