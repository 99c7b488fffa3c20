"""How a model that draws step by step should draw, and a bar that shows how far it is."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightning_gen.errors import InputError
from lightning_gen.types import IterativeGenerator, SamplingOptions

MODELS_CHOICE = SamplingOptions()
"""Nothing asked for."""


def ask(model: object, sampling: SamplingOptions) -> None:
    """Have a model draw as was asked on the command line.

    Args:
        model: any model.
        sampling: what was asked; nothing, mostly.

    Raises:
        InputError: when something is asked that the model cannot do.
    """
    if isinstance(model, IterativeGenerator):
        model.sampling = sampling
        return
    for name, value in vars(sampling).items():
        if value is not None:
            raise InputError(f"--{name} is for models that draw step by step, and {type(model).__name__} does not")


@contextmanager
def progress(model: object, num: int, shown: bool = True) -> Iterator[None]:
    """Show how many images are drawn, step by step, where the terminal can.

    Args:
        model: any model; of one that draws at once nothing is shown.
        num: how many will be drawn.
        shown: whether this process is the one that shows it.

    Yields:
        Nothing.
    """
    console = Console(stderr=True)
    if not (shown and console.is_terminal and isinstance(model, IterativeGenerator)):
        yield
        return
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("drawing", total=num)
        done = 0.0

        def advance(images: float) -> None:
            nonlocal done
            done += images
            bar.update(task, completed=round(done, 3))  # shares of a step add up to a whole image only nearly

        model.progress_callback = advance
        try:
            yield
        finally:
            model.progress_callback = None
