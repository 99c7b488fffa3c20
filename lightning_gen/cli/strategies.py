"""Which of Lightning's strategies train which models."""

from typing import Any

from lightning_gen.errors import InputError

SINGLE = ("auto", "single_device")
DDP = "ddp"


def strategy_name(strategy: Any) -> str:
    """The name of a strategy: that of the registry, or of the class in ``class_path``."""
    if isinstance(strategy, str):
        return strategy
    path = getattr(strategy, "class_path", None) or type(strategy).__name__
    return str(path).rpartition(".")[2]


def check_strategy(strategy: Any) -> None:
    """Check that a strategy keeps whole copies of the networks on every device.

    Strategies that shard parameters, gradients or the states of optimizers have no gradients to average between the
    players of a GAN, no averaged weights that can be sampled from, and write checkpoints that one process cannot load.

    Args:
        strategy: the value of ``trainer.strategy``: a name, or the configuration of a class.

    Raises:
        InputError: if it does not.
    """
    name = strategy_name(strategy)
    if name in SINGLE or name.lower().startswith(DDP) or name == "SingleDeviceStrategy":
        return
    raise InputError(f"trainer.strategy is {name}; every model trains with {DDP}, with a copy of the model per device")
