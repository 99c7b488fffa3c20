"""Iterative generation on the command line: setting its options, and a progress bar."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightning_gen.errors import InputError
from lightning_gen.types import IterativeModel, SamplingOptions

DEFAULT_SAMPLING = SamplingOptions()
"""Every option at the model's default."""


def set_sampling(model: object, sampling: SamplingOptions) -> None:
    """Set the options of a model's iterative sampling.

    Args:
        model: any model.
        sampling: the options; one that is None is the model's default.

    Raises:
        InputError: if an option is set that the model does not support.
    """
    if isinstance(model, IterativeModel):
        model.sampling = sampling
        return
    for name, value in vars(sampling).items():
        if value is not None:
            raise InputError(
                f"--{name} is an option of models that generate images iteratively; {type(model).__name__} does not"
            )


@contextmanager
def progress_bar(model: object, num: int, enabled: bool = True) -> Iterator[None]:
    """Show a progress bar on a terminal while an iterative model generates images.

    Args:
        model: any model; one that is not iterative has no bar.
        num: the number of images to generate.
        enabled: False on all processes but the first.

    Yields:
        Nothing.
    """
    console = Console(stderr=True)
    if not (enabled and console.is_terminal and isinstance(model, IterativeModel)):
        yield
        return
    with image_bar("sampling", num) as advance, reporting(model, advance):
        yield


@contextmanager
def reporting(model: object, advance: Callable[[float], None] | None) -> Iterator[bool]:
    """Let an iterative model report its steps.

    Args:
        model: any model.
        advance: called after each step with the number of images that the step amounts to; None for no reports.

    Yields:
        Whether the model reports.
    """
    if not isinstance(model, IterativeModel):
        yield False
        return
    model.progress_callback = advance
    try:
        yield True
    finally:
        model.progress_callback = None


@contextmanager
def image_bar(title: str, num: int) -> Iterator[Callable[[float], None] | None]:
    """Show a progress bar, which counts images, on a terminal.

    Args:
        title: the text before the bar.
        num: the number of images.

    Yields:
        A function to call with a number of images, or the fraction of one, that are complete; None without a terminal.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=num)
        completed = 0.0

        def advance(images: float) -> None:
            nonlocal completed
            completed += images
            bar.update(task, completed=round(completed, 3))  # the fractions of an image sum to 1 only approximately

        yield advance
