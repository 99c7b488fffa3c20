"""Detecting the last epoch of a run."""

from pytorch_lightning import Trainer


def is_last_epoch(trainer: Trainer) -> bool:
    """Whether training ends with the current epoch, at its end and before checkpoints are saved.

    True when the maximum number of epochs or steps is reached, or when the trainer was asked to stop.
    """
    epochs = trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch + 1
    steps = 0 <= trainer.max_steps <= trainer.global_step
    return epochs or steps or trainer.should_stop
