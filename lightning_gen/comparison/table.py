"""The table of several runs."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lightning_gen.comparison.runs import Run, differences
from lightning_gen.comparison.scores import Key, Score

IN_TRAINING_MARK = "*"
NOTES = (
    f"{IN_TRAINING_MARK} computed in training: a single draw of samples, which has no spread. "
    "Scores whose difference lies within their spread are not ranked.",
)
MAX_VALUE = 40
"""Characters of a setting's value."""


class Cell(NamedTuple):
    """A cell: its text, and the number by which rows are sorted, if it has one."""

    text: str
    value: float | None = None


class Grid(NamedTuple):
    """A table: the columns' names, one row per run, remarks, and the number of columns before those of scores."""

    columns: list[str]
    rows: list[list[Cell]]
    notes: tuple[str, ...]
    num_facts: int


def tabulate(runs: Sequence[Run]) -> Grid:
    """Tabulate runs: name, model, data, images seen, duration, differing settings, and a column per protocol.

    Args:
        runs: the runs.

    Returns:
        The table.
    """
    keys = list(dict.fromkeys(key for run in runs for key in run.scores))
    settings = differences(runs) if len(runs) > 1 else [{} for _ in runs]
    columns = ["run", "model", "data", "images seen", "duration"]
    columns += ["settings"] * any(settings)
    num_facts = len(columns)
    columns += [column_name(key) for key in keys]
    rows = []
    for run, different in zip(runs, settings, strict=True):
        row = [Cell(run.name), Cell(run.settings.model), Cell(run.settings.data)]
        row += [count_cell(run.images_seen), duration_cell(run.seconds)]
        row += [Cell(describe_settings(different))] * any(settings)
        row += [score_cell(run.scores.get(key)) for key in keys]
        rows.append(row)
    in_training = any(score.in_training for run in runs for score in run.scores.values())
    return Grid(columns, rows, NOTES if in_training else (), num_facts)


def column_name(key: Key) -> str:
    """The name of a score and of its protocol, which begins with the metric's name."""
    return key.protocol if key.protocol.lstrip("rtb").startswith(key.score) else f"{key.score} {key.protocol}".strip()


def count_cell(count: int | None) -> Cell:
    """A number of images."""
    return Cell("") if count is None else Cell(f"{count:,}", count)


def duration_cell(seconds: float | None) -> Cell:
    """Hours, minutes and seconds."""
    return Cell("") if seconds is None else Cell(str(timedelta(seconds=round(seconds))), seconds)


def score_cell(score: Score | None) -> Cell:
    """A score with its spread; one of training is marked."""
    if score is None:
        return Cell("")
    spread = "" if score.spread is None else f" ± {score.spread:.2g}"
    return Cell(f"{score.value:.4g}{spread}{IN_TRAINING_MARK if score.in_training else ''}", score.value)


def describe_settings(settings: dict[str, Any]) -> str:
    """Settings in words, e.g. ``width 64, lr 0.001``; the names without the section that they belong to."""
    return ", ".join(f"{name.rpartition('.')[2]} {str(value)[:MAX_VALUE]}" for name, value in settings.items())


def to_rich(grid: Grid, width: int) -> Group:
    """The table for a terminal, with the remarks below it.

    Args:
        grid: the table.
        width: characters of a line. If the table is wider, the scores get a table of their own.

    Returns:
        What rich prints.
    """
    everything = range(len(grid.columns))
    tables = [rich_table(grid, everything)]
    if Console(width=10 * width).measure(tables[0]).maximum > width:
        tables = [rich_table(grid, everything[: grid.num_facts])]
        if grid.num_facts < len(grid.columns):
            tables.append(rich_table(grid, [0, *everything[grid.num_facts :]]))
    return Group(*tables, *(Text(note) for note in grid.notes))


def rich_table(grid: Grid, columns: Sequence[int]) -> Table:
    """Some columns of the table."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for index in columns:
        is_number = any(row[index].value is not None for row in grid.rows)
        name = escape(grid.columns[index].replace("@", "\n@"))
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in grid.rows:
        table.add_row(*(escape(row[index].text) for index in columns))
    return table
