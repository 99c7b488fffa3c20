"""Restoring earlier weights during a run, with lower learning rates."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor


def snapshot(trainer: pl.Trainer, model: pl.LightningModule) -> dict[str, Any]:
    """The state that :func:`restore` needs: weights and buffers, and the states of the optimizers."""
    return {
        "state_dict": {name: value.cpu().clone() for name, value in model.state_dict().items()},
        "optimizer_states": [deepcopy(optimizer.state_dict()) for optimizer in trainer.optimizers],
    }


def restore(trainer: pl.Trainer, model: pl.LightningModule, state: Mapping[str, Any], lr_factor: float) -> None:
    """Restore weights and optimizer states, and multiply the current learning rates.

    The rates of the saved state are not used: it may be older than the last rollback. Schedules and counts go on.

    Args:
        trainer: the trainer.
        model: the model.
        state: a snapshot, or a checkpoint.
        lr_factor: factor of every learning rate, and of the base rates of the schedules.
    """
    model.load_state_dict(state["state_dict"])
    for optimizer, saved in zip(trainer.optimizers, state["optimizer_states"], strict=True):
        rates = [
            {name: group[name] for name in ("lr", "initial_lr") if name in group} for group in optimizer.param_groups
        ]
        optimizer.load_state_dict(deepcopy(saved))
        for group, current in zip(optimizer.param_groups, rates, strict=True):
            group.update({name: rate * lr_factor for name, rate in current.items()})
    for config in trainer.lr_scheduler_configs:
        if hasattr(config.scheduler, "base_lrs"):
            config.scheduler.base_lrs = [rate * lr_factor for rate in config.scheduler.base_lrs]


def usable_checkpoint(trainer: pl.Trainer) -> str | None:
    """The path of the run's best checkpoint, or else its last; None if none exists with finite weights."""
    callbacks = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    for callback in sorted(callbacks, key=lambda callback: callback.monitor is None):
        for path in (callback.best_model_path, callback.last_model_path):
            if path and Path(path).is_file() and all_finite(load_checkpoint(Path(path))["state_dict"].values()):
                return str(path)
    return None


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether tensors contain neither NaN nor infinity."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU, with ``weights_only=True``."""
    return torch.load(path, map_location="cpu", weights_only=True)
