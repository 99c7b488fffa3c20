"""The result of a sweep: a table of its trials as text and CSV, and a chart."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from rich.table import Table

from lightning_gen.cache import atomic
from lightning_gen.sweeps.definition import Sweep
from lightning_gen.sweeps.parameters import Parameter
from lightning_gen.sweeps.trial import Score

COLORS = {"complete": "tab:blue", "pruned": "tab:orange", "failed": "tab:red"}
COLUMNS = 3
PANEL = (4.0, 3.2)
"""Width and height of a panel, in inches."""


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    Attributes:
        number: its number, from 0 on.
        state: complete, pruned or failed.
        values: the values of its parameters.
        scores: the scores of its run.
        seconds: how long it took.
        reason: why it failed.
    """

    number: int
    state: str
    values: dict[str, Any]
    scores: list[Score]
    seconds: float
    reason: str

    def best(self, sweep: Sweep) -> Score | None:
        """The best score of its run; None without any."""
        chosen: Score | None = None
        for score in self.scores:
            if chosen is None or sweep.is_better(score.value, chosen.value):
                chosen = score
        return chosen


def ranked(trials: Sequence[Trial], sweep: Sweep) -> list[Trial]:
    """Trials that ran to their end first, each group with the best score first."""

    def rank(trial: Trial) -> tuple[int, float]:
        best = trial.best(sweep)
        value = math.inf if best is None else -best.value if sweep.maximize else best.value
        return list(COLORS).index(trial.state), value

    return sorted(trials, key=rank)


def rows_of(trials: Sequence[Trial], sweep: Sweep) -> tuple[list[str], list[list[Any]]]:
    """The columns of the table and its rows, the best trial first."""
    names = [parameter.name for parameter in sweep.searched]
    rows = []
    for trial in ranked(trials, sweep):
        best = trial.best(sweep)
        score = (None, None) if best is None else (best.value, best.images_seen)
        rows.append(
            [trial.number, trial.state, *score, round(trial.seconds, 1), *(trial.values.get(name) for name in names)]
        )
    return ["trial", "state", sweep.metric, "images_seen", "seconds", *names], rows


def table(trials: Sequence[Trial], sweep: Sweep) -> Table:
    """The trials as a table for the terminal, the best first."""
    columns, rows = rows_of(trials, sweep)
    result = Table(title=f"best {sweep.metric} of each trial ({'larger' if sweep.maximize else 'smaller'} is better)")
    for column in columns:
        result.add_column(column, justify="left" if column == "state" else "right")
    for row in rows:
        result.add_row(*(cell_text(cell) for cell in row))
    return result


def cell_text(cell: Any) -> str:
    """A cell of the table."""
    if cell is None:
        return ""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def save_csv(trials: Sequence[Trial], sweep: Sweep, path: Path) -> None:
    """Write the table as CSV, with the reason of each failure."""
    columns, rows = rows_of(trials, sweep)
    reasons = [trial.reason for trial in ranked(trials, sweep)]
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "reason"])
        writer.writerows([*row, reason] for row, reason in zip(rows, reasons, strict=True))


def save_chart(trials: Sequence[Trial], sweep: Sweep, path: Path) -> None:
    """Draw the scores by trial, by images seen and by each parameter.

    Args:
        trials: the trials, in their order.
        sweep: the sweep.
        path: the PNG file.
    """
    panels = 2 + len(sweep.searched)
    rows = math.ceil(panels / COLUMNS)
    figure = Figure(figsize=(PANEL[0] * min(COLUMNS, panels), PANEL[1] * rows), layout="constrained")
    axes = [figure.add_subplot(rows, min(COLUMNS, panels), number + 1) for number in range(panels)]
    complete = sum(trial.state == "complete" for trial in trials)
    figure.suptitle(f"{len(trials)} trials, {complete} to the end; {sweep.metric}, best of each run")
    draw_progress(axes[0], trials, sweep)
    draw_curves(axes[1], trials, sweep)
    for parameter, panel in zip(sweep.searched, axes[2:], strict=True):
        draw_parameter(panel, trials, sweep, parameter)
    scores = [score.value for trial in trials for score in trial.scores]
    if scores and min(scores) > 0 and max(scores) > 10 * min(scores):
        for panel in axes:
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter("{x:g}")
            panel.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
            panel.yaxis.set_minor_formatter("{x:g}")
    canvas = FigureCanvasAgg(figure)
    with atomic(path) as temporary:
        canvas.print_png(str(temporary))


def draw_progress(axes: Axes, trials: Sequence[Trial], sweep: Sweep) -> None:
    """Draw the score of each trial, and the best of the trials so far that ran to their end."""
    best: list[float] = []
    numbers: list[int] = []
    for trial in trials:
        score = trial.best(sweep)
        if score is not None and trial.state == "complete":
            best.append(sweep.best_of([*best[-1:], score.value]))
            numbers.append(trial.number)
    scatter(axes, trials, sweep, [float(trial.number) for trial in trials])
    axes.step(numbers, best, where="post", color="tab:gray", label="best so far")
    axes.set_title("by trial")
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(sweep.metric)
    axes.legend(fontsize="small")


def draw_curves(axes: Axes, trials: Sequence[Trial], sweep: Sweep) -> None:
    """Draw the scores of each run against the images that its model was trained on."""
    first = ranked(trials, sweep)[0].number if trials else None
    for trial in trials:
        style: dict[str, Any] = (
            {"linewidth": 2.5, "zorder": 3} if trial.number == first else {"linewidth": 0.8, "alpha": 0.7}
        )
        label = f"trial {trial.number}, the best" if trial.number == first else None
        seen, values = [score.images_seen for score in trial.scores], [score.value for score in trial.scores]
        axes.plot(seen, values, color=COLORS[trial.state], marker=".", label=label, **style)
    axes.set_title("while training")
    axes.set_xlabel("images seen")
    axes.set_ylabel(sweep.metric)
    axes.legend(fontsize="small")


def draw_parameter(axes: Axes, trials: Sequence[Trial], sweep: Sweep, parameter: Parameter) -> None:
    """Draw the score of each trial against the value of a parameter."""
    axes.set_title(parameter.name)
    axes.set_xlabel(parameter.name)
    axes.set_ylabel(sweep.metric)
    values = [trial.values.get(parameter.name) for trial in trials]
    if parameter.values:
        labels = [str(value) for value in parameter.values]
        scatter(axes, trials, sweep, [float(labels.index(str(value))) for value in values])
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlim(-0.5, len(labels) - 0.5)
        return
    scatter(axes, trials, sweep, [float(value) if value is not None else math.nan for value in values])
    if parameter.is_logarithmic:
        axes.set_xscale("log")
        axes.minorticks_off()
        ticks = [parameter.low * (parameter.high / parameter.low) ** (i / 3) for i in range(4)]
        axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
        axes.set_xlim(parameter.low / 1.1, parameter.high * 1.1)


def scatter(axes: Axes, trials: Sequence[Trial], sweep: Sweep, positions: Sequence[float]) -> None:
    """Draw the best score of each trial at a position, in the colour of its state."""
    for state, color in COLORS.items():
        points = [
            (position, score.value)
            for trial, position in zip(trials, positions, strict=True)
            if trial.state == state and (score := trial.best(sweep)) is not None
        ]
        if points:
            axes.scatter(*zip(*points, strict=True), color=color, label=state, zorder=2)
