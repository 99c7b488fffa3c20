"""Where the progress of a run is shown: in place on a terminal, otherwise as a line from time to time."""

import time
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.table import Table
from rich.text import Text

from lightning_gen.callbacks.run_length import duration

FIRST_LINE_SECONDS, LINE_SECONDS = 5.0, 30.0
"""Seconds before the first line and between two lines where there is no terminal."""


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes:
        position: e.g. ``epoch 12/110``.
        fraction: the part that is done, in [0, 1]; None for a run without an end.
        elapsed: seconds since the start.
        left: seconds that remain; None if unknown.
        figures: the newest figures, formatted.
        activity: what is done now beside training; empty in training.
    """

    position: str
    fraction: float | None
    elapsed: float
    left: float | None
    figures: tuple[str, ...] = ()
    activity: str = ""

    @property
    def times(self) -> str:
        """The percentage, the elapsed and the remaining time."""
        words = [] if self.fraction is None else [f"{self.fraction:4.0%}"]
        words.append(duration(self.elapsed))
        words += [] if self.left is None else [f"{duration(self.left)} left"]
        return "  ".join(words)


@runtime_checkable
class Display(Protocol):
    """Shows progress."""

    def show(self, progress: Progress) -> None:
        """Show the progress, in place of what was shown before."""

    def close(self) -> None:
        """End the display."""


def make_display(console: Console) -> Display:
    """The display for a console."""
    return TerminalDisplay(console) if console.is_terminal else LineDisplay(console)


class TerminalDisplay:
    """Two lines at the end of the terminal: a bar with the time left, and the figures. They vanish at the end.

    Args:
        console: a console on a terminal.
    """

    def __init__(self, console: Console) -> None:
        # without a thread of its own: it is drawn when there is something new
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def show(self, progress: Progress) -> None:
        """Draw the lines."""
        if not self._live.is_started:
            self._live.start()
        self._live.update(render(progress), refresh=True)

    def close(self) -> None:
        """Remove the lines."""
        self._live.stop()


class LineDisplay:
    """A line of text every ``LINE_SECONDS``, for files and pipes.

    Args:
        console: any console.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = time.monotonic() + FIRST_LINE_SECONDS

    def show(self, progress: Progress) -> None:
        """Print a line if its time has come."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            words = (progress.position, progress.times.strip(), progress.activity, *progress.figures)
            self._console.print("  ".join(filter(None, words)), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Do nothing."""


def render(progress: Progress) -> Group:
    """The two lines of a terminal."""
    first = Table.grid(padding=(0, 1), expand=True)
    first.add_column(no_wrap=True)
    first.add_column(ratio=1)
    first.add_column(no_wrap=True)
    bar = Bar(total=1.0, completed=progress.fraction) if progress.fraction is not None else Text("")
    first.add_row(Text(progress.position, "bold"), bar, Text(progress.times))
    second = Text(no_wrap=True, overflow="ellipsis")
    if progress.activity:
        second.append(f"{progress.activity}  ", "yellow")
    second.append("  ".join(progress.figures))
    return Group(first, second)
