"""Knowing, at the end of an epoch, that it is the last."""

from pytorch_lightning import Trainer


def is_last_epoch(trainer: Trainer) -> bool:
    """Whether training ends with the epoch that just ended, as far as is known before checkpoints are written.

    Args:
        trainer: the trainer, at the end of a train epoch.

    Returns:
        True when it has come to its last epoch or step, or was told to stop.
    """
    loop = trainer.fit_loop
    epochs = loop.max_epochs is not None and 0 <= loop.max_epochs <= trainer.current_epoch + 1
    steps = loop.max_steps is not None and 0 <= loop.max_steps <= trainer.global_step
    return epochs or steps or trainer.should_stop
