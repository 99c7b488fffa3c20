"""The loggers of a run and what they are told of it; evaluations and inspections in the W&B run of a run's folder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from torch import nn

from lightning_gen.cli.boundary import option_errors
from lightning_gen.loggers import WandbRunLogger
from lightning_gen.loggers.choice import make_loggers

LOGGERS_HELP = (
    "Where figures are logged: csv, which is always written, wandb, tensorboard, mlflow. They add to one another, and "
    "to loggers of trainer.logger; trainer.logger false is none at all."
)


def run_loggers(config: Any, run_folder: Path, experiment: str, tags: list[str]) -> list[Logger] | bool:
    """Create the loggers of ``--loggers`` beside those of ``trainer.logger``.

    Args:
        config: the configuration of the command, with the objects of ``trainer.logger``.
        run_folder: the run's folder.
        experiment: the experiment's name, which is the default group of the W&B run.
        tags: the default tags of the W&B run.

    Returns:
        The loggers, the CSV file first; False if ``trainer.logger`` is.
    """
    own = config.trainer.logger
    if own is False:
        return False
    described = {"group": experiment, "tags": tags}
    options = described | {name: value for name, value in config.wandb.as_dict().items() if value is not None}
    with option_errors("wandb"):
        made = make_loggers(config.loggers, run_folder, experiment, options)
    if own is None or own is True:
        return made
    return [*made, *(own if isinstance(own, list) else [own])]


def description(model: nn.Module, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the loggers are told of a run beside the model's hyper-parameters, which the model logs itself.

    Args:
        model: the model.
        config: the configuration as plain values.

    Returns:
        The configuration, with the model's class and the number of parameters of each of its trained parts.
    """
    options = {name: value for name, value in config.items() if name != "config"}
    return options | {"model": type(model).__name__, "parameters": count_parameters(model)}


def count_parameters(model: nn.Module) -> dict[str, int]:
    """The number of trained parameters of each part of a model, and their ``total``."""
    parts = {
        name: sum(parameter.numel() for parameter in part.parameters() if parameter.requires_grad)
        for name, part in model.named_children()
    }
    trained = {name: count for name, count in parts.items() if count}
    return {**trained, "total": sum(trained.values())}


@contextmanager
def wandb_run(run_folder: Path | None) -> Iterator[WandbRunLogger | None]:
    """Resume the W&B run of a run's folder, and print how to upload it if it is offline.

    Args:
        run_folder: the run's folder; None to log nothing.

    Yields:
        The logger; None if there is no folder, or its run has no W&B run.
    """
    logger = WandbRunLogger.of_run(run_folder) if run_folder is not None else None
    try:
        yield logger
    finally:
        if logger is not None:
            logger.close()
            if logger.sync_command:
                print(f"W&B: {logger.sync_command}")
