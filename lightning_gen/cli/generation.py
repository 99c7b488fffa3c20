"""Iterative generation on the command line: setting its options, and a progress bar."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightning_gen.errors import InputError
from lightning_gen.types import IterativeGenerator, SamplingOptions

DEFAULT_SAMPLING = SamplingOptions()
"""Every option at the model's default."""


def set_sampling(model: object, sampling: SamplingOptions) -> None:
    """Set the options of a model's iterative generation.

    Args:
        model: any model.
        sampling: the options; one that is None is the model's default.

    Raises:
        InputError: if an option is set that the model does not support.
    """
    if isinstance(model, IterativeGenerator):
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
    if not isinstance(model, IterativeGenerator):
        yield
        return
    with image_bar("sampling", num, enabled) as advance:
        model.progress_callback = advance
        try:
            yield
        finally:
            model.progress_callback = None


@contextmanager
def image_bar(title: str, num: int, enabled: bool = True) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on a terminal, which counts images.

    Args:
        title: the text before the bar.
        num: the number of images.
        enabled: False for no bar.

    Yields:
        A function that is called with a number of images, or a fraction of one, when they are complete.
    """
    console = Console(stderr=True)
    if not (enabled and console.is_terminal):
        yield lambda images: None
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
