"""Messages of libraries: which of them are shown, and when."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

PACKAGE = Path(__file__).parent.parent


def filter_messages() -> None:
    """Suppress Lightning's start-up messages, and its warnings about things that are intended here."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*no `validation_step`.*",
        "Detected call of `lr_scheduler.step",  # with n_critic > 1 the generator's first step comes later
        ".*sync_dist=True.*",  # a value that is logged without it is the same on every rank
        "Checkpoint directory .* exists and is not empty",  # of a resumed run
        "The dirpath has changed",  # validate and test write to a folder of their own
        "LightningCLI's args parameter is intended",  # the names of configurations are replaced by their files
        ".*callbacks used to create the checkpoint need to be provided",  # the options of a resumed run may change
    ):
        warnings.filterwarnings("ignore", message)


class HeldWarnings:
    """Warnings of libraries, kept until it is known whether the command fails because of its input.

    Those of this package are shown at once.

    Args:
        show: shows a warning, with the arguments of ``warnings.showwarning``.
    """

    def __init__(self, show: Callable[..., None]) -> None:
        self.show = show
        self.held: list[tuple[Any, ...]] = []
        self.is_holding = True

    def __call__(self, message: Any, category: Any, filename: str, *args: Any, **kwargs: Any) -> None:
        """Keep a warning, or show it; this replaces ``warnings.showwarning``."""
        if self.is_holding and not Path(filename).is_relative_to(PACKAGE):
            self.held.append((message, category, filename, *args))
        else:
            self.show(message, category, filename, *args, **kwargs)

    def release(self) -> None:
        """Show the warnings, and those that follow at once."""
        self.is_holding = False
        for arguments in self.held:
            self.show(*arguments)
        self.drop()

    def drop(self) -> None:
        """Forget the warnings: one line says what is wrong."""
        self.held = []


HELD: ContextVar[HeldWarnings | None] = ContextVar("HELD", default=None)
"""The warnings that the running command holds."""


@contextmanager
def hold_warnings() -> Iterator[HeldWarnings]:
    """Hold the warnings of libraries inside the block; at its end, those that were not dropped are shown.

    Yields:
        The warnings.
    """
    show = warnings.showwarning
    held = HeldWarnings(show)
    token = HELD.set(held)
    warnings.showwarning = held
    try:
        yield held
    finally:
        warnings.showwarning = show
        HELD.reset(token)
        held.release()


class ReleaseWarnings(Callback):
    """Shows the held warnings of libraries after the first batch of training: it has passed all checks of the input."""

    def on_train_batch_end(self, *args: Any) -> None:
        """Show the warnings."""
        held = HELD.get()
        if held is not None and held.is_holding:
            held.release()
