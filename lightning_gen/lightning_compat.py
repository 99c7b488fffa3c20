"""Uses of private APIs of Lightning and wandb, in one place, each with its reason and the version it was read in."""

from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.core.optimizer import LightningOptimizer, do_nothing_closure


def exclude_from_global_step(optimizer: LightningOptimizer) -> None:
    """Keep an optimizer's steps out of ``Trainer.global_step``.

    Under manual optimization Lightning counts the steps of every optimizer (its issue 17958), so a GAN's ``max_steps``
    would be reached in half the batches. The two hooks do nothing but count. Lightning 2.6, core/optimizer.py.

    Args:
        optimizer: an optimizer as ``LightningModule.optimizers()`` returns it.
    """
    optimizer._on_before_step = optimizer._on_after_step = do_nothing_closure


def logging_step(trainer: Trainer) -> int:
    """The step under which ``LightningModule.log`` reports to the loggers.

    Metrics that are logged by hand need the same number, and it is not ``global_step`` where an optimizer is excluded
    from that. Lightning 2.6, loops/training_epoch_loop.py.

    Args:
        trainer: a trainer in ``fit``.

    Returns:
        The number of training batches after which an optimizer stepped.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    return int(loop._batches_that_stepped)
