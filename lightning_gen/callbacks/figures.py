"""Figures of a run beside its losses: learning rates, norms of gradients, speed and time."""

import math
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from lightning_gen.callbacks.players import players
from lightning_gen.callbacks.timing import TimedCallback
from lightning_gen.errors import InputError
from lightning_gen.lightning_compat import writes_row


class TrainingFigures(TimedCallback):
    """Logs figures of training in the rows of the losses, once per ``trainer.log_every_n_steps``.

    A player is the networks of one optimizer: ``generator`` and ``discriminator``, or ``network``.

    Args:
        learning_rates: log ``learning_rate/<player>``.
        gradient_norms: log ``gradient_norm/<player>``: the 2-norm of its gradient in its first step since the last row,
            averaged over ranks and before clipping.
        speed: log ``speed/images_per_second`` of training since the last row, without validation, scores, pictures and
            checkpoints, and ``speed/seconds``, the run's duration with them, also of earlier sessions of a resumed run.
    """

    def __init__(self, learning_rates: bool = True, gradient_norms: bool = True, speed: bool = True) -> None:
        super().__init__()
        self.learning_rates = learning_rates
        self.gradient_norms = gradient_norms
        self.speed = speed
        self.earlier_seconds = 0.0
        self.first_images_seen = 0
        self._names: dict[int, str] = {}
        self._norms: dict[str, Tensor] = {}
        self._last = (0, 0.0)

    def state_dict(self) -> dict[str, Any]:
        """The run's duration so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the run's duration.

        Args:
            state_dict: what :meth:`state_dict` returned.

        Raises:
            InputError: if it is damaged.
        """
        seconds = state_dict.get("seconds")
        if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
            raise InputError(f"the checkpoint's seconds are {seconds!r}; they must be a number of at least 0")
        self.earlier_seconds = float(seconds)

    @property
    def seconds(self) -> float:
        """Duration of the run in seconds, with its earlier sessions."""
        return self.earlier_seconds + self.stopwatch.total()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the stopwatch and name the optimizers."""
        super().on_train_start(trainer, pl_module)
        names = [*players(pl_module)]
        self._names = {id(optimizer): name for optimizer, name in zip(trainer.optimizers, names, strict=False)}
        self._norms = {}
        self.first_images_seen = int(getattr(pl_module, "images_seen", 0))
        self._last = (self.first_images_seen, 0.0)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Measure the norm of the gradient, if this is the player's first step since the last row."""
        name = self._names.get(id(optimizer))
        if self.gradient_norms and name is not None and name not in self._norms:
            self._norms[name] = gradient_norm(optimizer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the figures in the batches whose losses are logged."""
        if writes_row(trainer):
            pl_module.log_dict(self.figures(trainer, pl_module), batch_size=1)
            self._norms = {}
        self.pause_after_last_batch(trainer)

    def figures(self, trainer: Trainer, model: Any) -> dict[str, float | Tensor]:
        """The figures since the last row, by name."""
        figures: dict[str, float | Tensor] = {}
        if self.learning_rates:
            for optimizer in trainer.optimizers:
                figures |= learning_rates(optimizer, self._names.get(id(optimizer), type(optimizer).__name__))
        figures |= {f"gradient_norm/{name}": norm for name, norm in self._norms.items()}
        if self.speed:
            now = (int(getattr(model, "images_seen", 0)), self.stopwatch.active())
            images, seconds = now[0] - self._last[0], now[1] - self._last[1]
            self._last = now
            if seconds > 0:
                figures["speed/images_per_second"] = images / seconds
            figures["speed/seconds"] = self.seconds
        return figures


def learning_rates(optimizer: Optimizer, player: str) -> dict[str, float]:
    """The learning rate of each group of parameters; those of the second group on have the group's name or number."""
    return {
        f"learning_rate/{player}" + (f"_{group.get('name', number)}" if number > 1 else ""): float(group["lr"])
        for number, group in enumerate(optimizer.param_groups, 1)
    }


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """The 2-norm of the gradient of all parameters of an optimizer, on their device."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)
