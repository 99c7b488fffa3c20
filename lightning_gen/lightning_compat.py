"""All uses of private APIs of PyTorch Lightning and of PyTorch's DDP, each with its version and the reason.

Overridden private methods of Lightning's command line are in ``cli/training.py``; uses of wandb are in
``loggers/wandb.py``.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.core.optimizer import LightningOptimizer, do_nothing_closure
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.trainer.states import TrainerFn


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


def attached_trainer(model: LightningModule) -> Any:
    """The trainer of a model, or None without one.

    Lightning 2.6, core/module.py: ``_trainer``. Reason: ``trainer`` raises an error without a trainer.
    """
    return model._trainer


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


def writes_row(trainer: Trainer) -> bool:
    """Whether Lightning writes the logged figures to the loggers after the current training batch.

    Lightning 2.6, trainer/connectors/logger_connector: ``should_update_logs``; loops/training_epoch_loop.py:
    ``_should_accumulate``. Reason: figures that are costly to compute are needed in those batches only.

    Args:
        trainer: a trainer in ``fit``, in a hook of a training batch.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    return bool(trainer._logger_connector.should_update_logs and not loop._should_accumulate())


def unwritten_row(trainer: Trainer) -> tuple[dict[str, float], int]:
    """The logged figures that Lightning writes to the loggers after the callbacks, and their step; empty if none.

    Lightning 2.6, trainer/connectors/logger_connector: ``metrics``, ``should_update_logs`` and ``_first_loop_iter``,
    which is None at the end of an epoch; loops/fit_loop.py: ``on_advance_end``, which logs an epoch under the step of
    its last batch. Reason: checkpoints are saved by callbacks, before the row of their batch or epoch is written.

    Args:
        trainer: a trainer; its figures are those of the hook that is running.

    Returns:
        The figures by name, and the step.
    """
    connector: Any = trainer._logger_connector
    loop: Any = trainer.fit_loop.epoch_loop
    step = int(loop._batches_that_stepped)
    if not trainer.training:
        return {}, step
    is_written = loop.batch_progress.total.completed == loop.batch_progress.total.ready
    if connector._first_loop_iter is None:
        step -= 1
    elif is_written or not connector.should_update_logs or loop._should_accumulate():
        return {}, step
    figures = {name: float(value) for name, value in connector.metrics["log"].items()}
    return (figures | {"epoch": trainer.current_epoch} if figures else {}), step


def trained_batches(trainer: Trainer) -> int:
    """The index of the newest training batch of the run, counted over all epochs; -1 before the first.

    Lightning 2.6, loops/fit_loop.py: ``total_batch_idx`` is public, but the loop classes are an internal interface.
    Reason: ``Trainer`` offers only ``global_step``, which counts optimizer steps.
    """
    return int(trainer.fit_loop.total_batch_idx)


def resume_exactly(model: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Rewrite the progress of a checkpoint, so that Lightning continues after the checkpoint's last batch.

    Lightning 2.6, loops/fit_loop.py: ``restarting``, ``_iteration_based_training`` and the checkpoint's ``loops``;
    core/module.py: ``_trainer``, which is None without a trainer. Reasons:

    * With ``max_steps``, Lightning restarts within the saved epoch even if it was complete: the resumed epoch has one
      batch and counts as another epoch.
    * An epoch that ended early, at ``max_steps`` or because the trainer was asked to stop, is saved as complete. Its
      other batches would be skipped or taken from the next epoch's order.
    * After a checkpoint within the last batch of an epoch, the counters of epochs are off by one.

    The state becomes one of two that Lightning restores exactly: between two epochs, or after a batch within an epoch.

    Args:
        model: the model; nothing is done unless its trainer is in ``fit``.
        checkpoint: the checkpoint's dictionary before Lightning restores the loops; ``loops`` is changed in place.
    """
    trainer = model._trainer
    if trainer is None or trainer.state.fn != TrainerFn.FITTING:
        return
    fit_loop: Any = trainer.fit_loop
    vars(fit_loop)["_iteration_based_training"] = lambda: False  # restart within an epoch only if it is unfinished
    state = checkpoint["loops"]["fit_loop"]
    epochs, batches = state["epoch_progress"], state["epoch_loop.batch_progress"]
    loggers = state["epoch_loop.state_dict"]
    epoch_ended = epochs["total"]["processed"] == epochs["total"]["started"]
    batch_ended = batches["total"]["completed"] == batches["total"]["ready"]
    if batches["is_last_batch"] and (epoch_ended or not batch_ended):
        for scope in ("total", "current"):
            epochs[scope] = dict.fromkeys(epochs[scope], epochs[scope]["started"])
            batches[scope] = dict.fromkeys(batches[scope], batches[scope]["ready"])
        loggers["_batches_that_stepped"] += not batch_ended
    elif epoch_ended and batches["current"]["ready"]:
        for scope in ("total", "current"):
            epochs[scope]["processed"] = epochs[scope]["completed"] = epochs[scope]["started"] - 1
            batches[scope]["completed"] = batches[scope]["ready"] - 1
        if batches["current"]["ready"] % trainer.accumulate_grad_batches == 0:
            loggers["_batches_that_stepped"] -= 1  # Lightning adds it again


def restore_loader(trainer: Trainer) -> None:
    """Load a checkpoint's state of the training data, if Lightning has not.

    Lightning 2.6, loops/fit_loop.py: ``_load_combined_loader_states`` and ``_data_fetcher``. Reason: the states are
    loaded when the data is set up. ``Trainer.estimated_stepping_batches``, which a learning-rate schedule reads, sets
    the data up before the checkpoint's progress is restored, so a resumed epoch would start with its first batch.

    Args:
        trainer: a trainer in ``fit``, before the first batch.
    """
    fit_loop: Any = trainer.fit_loop
    if fit_loop.restarting and fit_loop._combined_loader_states_to_load:
        fit_loop._load_combined_loader_states()
        iter(fit_loop._data_fetcher)


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
