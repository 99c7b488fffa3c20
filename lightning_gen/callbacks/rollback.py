"""Going back to earlier weights in the middle of a run, with lower learning rates."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor


def snapshot(trainer: pl.Trainer, model: pl.LightningModule) -> dict[str, Any]:
    """What :func:`restore` needs to come back to here: weights, buffers and the optimizers' states."""
    return {
        "state_dict": {name: value.cpu().clone() for name, value in model.state_dict().items()},
        "optimizer_states": [deepcopy(optimizer.state_dict()) for optimizer in trainer.optimizers],
    }


def restore(trainer: pl.Trainer, model: pl.LightningModule, state: Mapping[str, Any], lr_factor: float) -> None:
    """Put weights and optimizer states back, and lower the learning rates of now; schedules and counts go on.

    Args:
        trainer: the trainer.
        model: the model.
        state: a snapshot, or a checkpoint.
        lr_factor: what every learning rate, and every rate that a schedule starts from, is multiplied by.
    """
    model.load_state_dict(state["state_dict"])
    for optimizer, saved in zip(trainer.optimizers, state["optimizer_states"], strict=True):
        # the rates of now, not those of the state, which may be from before the last rollback
        rates = [
            {name: group[name] for name in ("lr", "initial_lr") if name in group} for group in optimizer.param_groups
        ]
        optimizer.load_state_dict(deepcopy(saved))
        for group, now in zip(optimizer.param_groups, rates, strict=True):
            group.update({name: rate * lr_factor for name, rate in now.items()})
    for config in trainer.lr_scheduler_configs:
        if hasattr(config.scheduler, "base_lrs"):
            config.scheduler.base_lrs = [rate * lr_factor for rate in config.scheduler.base_lrs]


def good_checkpoint(trainer: pl.Trainer) -> str | None:
    """The run's best checkpoint, else its last; None where there is none that can be read and is finite."""
    callbacks = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    for callback in sorted(callbacks, key=lambda callback: callback.monitor is None):
        for path in (callback.best_model_path, callback.last_model_path):
            if path and Path(path).is_file() and is_finite(load(Path(path))["state_dict"].values()):
                return str(path)
    return None


def is_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number in tensors is finite."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, without running code that it might hold."""
    return torch.load(path, map_location="cpu", weights_only=True)
