"""All uses of private APIs of PyTorch Lightning and of PyTorch's DDP, each with its version and the reason.

Overridden private methods of Lightning's command line are in ``cli/training.py``; uses of wandb are in ``loggers.py``.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.core.optimizer import LightningOptimizer, do_nothing_closure
from pytorch_lightning.loggers import WandbLogger


def exclude_from_global_step(optimizer: LightningOptimizer) -> None:
    """Exclude an optimizer's steps from ``Trainer.global_step``.

    Lightning 2.6, core/optimizer.py: ``_on_before_step`` and ``_on_after_step`` do nothing but count. Reason: under
    manual optimization Lightning counts the steps of every optimizer (its issue 17958), so that a GAN reaches
    ``max_steps`` after half the batches.

    Args:
        optimizer: an optimizer as returned by ``LightningModule.optimizers()``.
    """
    optimizer._on_before_step = optimizer._on_after_step = do_nothing_closure


def exclude_from_broadcast(model: LightningModule, buffers: Sequence[str]) -> None:
    """Exclude buffers from DistributedDataParallel, which overwrites all buffers with rank 0's before every step.

    PyTorch 2.6, nn/parallel/distributed.py: ``_ddp_params_and_buffers_to_ignore``, read from the wrapped module.
    Reason: the option ``broadcast_buffers`` holds for all buffers or for none, and belongs to the strategy.

    Args:
        model: the model that the strategy wraps.
        buffers: names of its buffers that each rank keeps for itself.
    """
    vars(model)["_ddp_params_and_buffers_to_ignore"] = list(buffers)


def scales_gradients(model: LightningModule) -> bool:
    """Whether the trainer of a model scales its loss, which fp16 needs; False without a trainer.

    Lightning 2.6, core/module.py: ``_trainer``, plugins/precision/amp.py: ``scaler``. Reason: ``trainer`` raises an
    error without a trainer, and no public attribute says whether gradients are scaled.
    """
    return model._trainer is not None and getattr(model.trainer.precision_plugin, "scaler", None) is not None


BATCH_HOOKS = tuple(
    f"on_{name}"
    for name in (
        *("train_batch_start", "train_batch_end", "validation_batch_start", "validation_batch_end"),
        *("before_zero_grad", "before_backward", "after_backward", "before_optimizer_step"),
    )
)


def skip_unused_hooks(callbacks: Iterable[Callback]) -> None:
    """Let the trainer skip those hooks of a batch that a callback does not define.

    Lightning 2.6, trainer/call.py: ``_call_callback_hooks`` skips a hook that is not callable. Reason: it times each
    call, and a run's callbacks, of which few have a hook of a batch, took a twelfth of the step of a small network.

    Args:
        callbacks: the trainer's callbacks; hooks that they do not define become None.
    """
    for callback in callbacks:
        for name in BATCH_HOOKS:
            if getattr(type(callback), name) is getattr(Callback, name):
                setattr(callback, name, None)


def logging_step(trainer: Trainer) -> int:
    """The step under which ``LightningModule.log`` reports to the loggers.

    Lightning 2.6, loops/training_epoch_loop.py: ``_batches_that_stepped``. Reason: metrics that a callback sends to the
    loggers need the same number, which differs from ``global_step`` where an optimizer is excluded from it.

    Args:
        trainer: a trainer in ``fit``.

    Returns:
        The number of training batches after which an optimizer stepped.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    return int(loop._batches_that_stepped)


def trained_batches(trainer: Trainer) -> int:
    """The index of the newest training batch of the run, counted over all epochs; -1 before the first.

    Lightning 2.6, loops/fit_loop.py: ``total_batch_idx`` is public, but the loop classes are an internal interface.
    Reason: ``Trainer`` offers only ``global_step``, which counts optimizer steps.
    """
    return int(trainer.fit_loop.total_batch_idx)


def save_checkpoint_if_new(callback: ModelCheckpoint, trainer: Trainer) -> None:
    """Save a callback's checkpoint now, unless it has saved one at this step or the trainer saves none.

    Lightning 2.6, callbacks/model_checkpoint.py: ``_should_skip_saving_checkpoint``, ``_monitor_candidates`` and
    ``_save_topk_checkpoint``. Reason: the public hooks save only at the callback's interval, not at the end of a run.

    Args:
        callback: the callback.
        trainer: a trainer in ``fit``.
    """
    if not callback._should_skip_saving_checkpoint(trainer):
        callback._save_topk_checkpoint(trainer, callback._monitor_candidates(trainer))


def request_stop(trainer: Trainer) -> None:
    """Ask a trainer to raise a ``SIGTERMException``, a ``SystemExit``, after the current batch has been logged.

    Lightning 2.6, trainer/connectors/signal_connector.py: ``received_sigterm``, which ``Trainer.received_sigterm`` only
    reads. Reason: ``should_stop`` ends the epoch too, and an exception of a hook comes before the batch is logged.

    Args:
        trainer: a trainer in ``fit``.
    """
    trainer._signal_connector.received_sigterm = True


def loop_states(trainer: Trainer) -> dict[str, Any]:
    """The states of a trainer's loops, as a checkpoint has them.

    Lightning 2.6, trainer/connectors/checkpoint_connector.py: ``_get_loops_state_dict``. Reason: the form that a
    checkpoint's states must have is defined nowhere else.
    """
    return trainer._checkpoint_connector._get_loops_state_dict()


def get_wandb_run(logger: WandbLogger) -> Any:
    """The W&B run that a logger has started; None before that.

    Lightning 2.6, loggers/wandb.py: ``_experiment``. Reason: ``experiment`` starts a run when there is none.
    """
    return logger._experiment


def set_wandb_run(logger: WandbLogger, run: Any) -> None:
    """Set the W&B run of a logger; None when it has ended.

    Lightning 2.6, loggers/wandb.py: ``_experiment``. Reason: ``version`` and other methods of the base class read it.
    """
    logger._experiment = run


def wandb_init_options(logger: WandbLogger) -> dict[str, Any]:
    """The arguments of ``wandb.init`` that a logger was constructed with, without those that are None.

    Lightning 2.6, loggers/wandb.py: ``_wandb_init``. Reason: the constructor maps its own arguments to those of
    ``wandb.init`` and stores them nowhere else.
    """
    return {name: value for name, value in logger._wandb_init.items() if value is not None}


def state_without_wandb_run(logger: WandbLogger) -> dict[str, Any]:
    """A logger's attributes without its W&B run, for pickling.

    Lightning 2.6, loggers/wandb.py: ``_experiment``. Reason: ``WandbLogger.__getstate__`` starts a run.
    """
    return {**logger.__dict__, "_experiment": None}
