"""Checks that a run can go on from a checkpoint, and one line if it cannot."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.trainer.connectors import checkpoint_connector

from lightning_gen.errors import InputError
from lightning_gen.lightning_compat import loop_states
from lightning_gen.models.checkpoint_contents import difference

MAX_REASON = 200
"""Characters of an error's message that are shown."""
NEEDED = ("epoch", "global_step", "pytorch-lightning_version", "loops", "callbacks", "optimizer_states", "progress")


def check_resumable(path: Path, checkpoint: dict[str, Any], trainer: Any) -> None:
    """Check that a checkpoint has what a resumed run needs.

    Args:
        path: the checkpoint's file, for the message.
        checkpoint: the dictionary.
        trainer: the trainer that will resume.

    Raises:
        InputError: if an entry is missing, or a state of a loop or a callback has another form than that of a new run.
    """
    for name in NEEDED:
        if name not in checkpoint:
            raise InputError(f"{path} has no {name}: it was not saved by a run, which cannot go on from it")
    problem = difference(checkpoint["loops"], loop_states(trainer), "loops")
    if problem is None:
        loaders = checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader", [])
        if not isinstance(loaders, list) or not all(isinstance(state, dict) for state in loaders):
            problem = "loops.fit_loop.state_dict.combined_loader is not a list of dictionaries"
    for callback in trainer.callbacks:
        saved = checkpoint["callbacks"].get(callback.state_key)
        if saved is not None and isinstance(callback, ModelCheckpoint) and set(saved) != set(callback.state_dict()):
            problem = problem or f"callbacks.{type(callback).__name__} has other entries"
    if problem is not None:
        raise InputError(f"{path} is damaged: its entry {problem}")


@contextmanager
def restoring(path: str | None) -> Iterator[None]:
    """Report an error that arises while Lightning restores a checkpoint as invalid input.

    Args:
        path: the checkpoint; None if the run starts anew.

    Yields:
        None.

    Raises:
        InputError: instead of any error of a function of Lightning's that restores a state.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        frames = (frame.f_code for frame, _ in walk_tb(error.__traceback__))
        restores = any(
            code.co_filename == checkpoint_connector.__file__ and code.co_name.startswith(("restore", "resume"))
            for code in frames
        )
        if path is None or not restores:
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be restored: {reason[:MAX_REASON]}") from error
