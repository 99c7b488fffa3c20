"""``metrics.csv``: the figures of a run, one line per training step that logs any."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers.logger import Logger

from lightning_gen.cache import atomic
from lightning_gen.errors import InputError
from lightning_gen.loggers.axis import AXIS, Axis

FIRST_COLUMNS = (AXIS, "epoch", "step")
"""Where a figure belongs. They come first, and may differ between the figures of one line."""


class OpenRow(NamedTuple):
    """The newest line, which takes further figures of its step.

    Attributes:
        values: the figures by name, with ``images_seen`` and ``step`` if they are known.
        counted: whether ``images_seen`` was logged with the figures; otherwise it is the last known value.
    """

    values: dict[str, Any]
    counted: bool

    def continued_by(self, other: "OpenRow") -> bool:
        """Whether other figures belong to the same step, and none of them would replace a value."""
        if self.counted and other.counted:
            belongs = self.values[AXIS] == other.values[AXIS]
        else:
            steps = {row.values["step"] for row in (self, other) if "step" in row.values}
            belongs = len(steps) < 2
        return belongs and all(
            name in FIRST_COLUMNS or self.values.get(name, value) == value for name, value in other.values.items()
        )

    def with_figures_of(self, other: "OpenRow") -> "OpenRow":
        """The line with other figures added; the number of its step stays."""
        step = {"step": self.values["step"]} if "step" in self.values else {}
        return OpenRow(self.values | other.values | step, self.counted or other.counted)


class RunCSVLogger(Logger):
    """Writes ``<run>/metrics.csv``: one line per step, one column per figure, ``images_seen`` first.

    Lightning logs the figures of a step in several calls: those of the batch, of the validation, of the epoch. Calls
    with the same ``images_seen`` or, where one of them does not give it, the same step become one line. Each call's
    figures are on disk when it returns. A resumed run goes on after the figures of its checkpoint, where Lightning's
    ``CSVLogger`` deletes the file. Hyper-parameters are not written: they are in ``config.yaml``.

    Args:
        run_folder: the run's folder; created with the first line.
    """

    def __init__(self, run_folder: str | Path) -> None:
        super().__init__()
        self.path = Path(run_folder) / "metrics.csv"
        self._columns: list[str] = []
        self._axis = Axis()
        self._open: OpenRow | None = None
        self._start = 0  # the position of the open line in the file
        self._num_rows = len(self._read()[1])

    @property
    def name(self) -> str:
        """Empty: the run is identified by its folder."""
        return ""

    @property
    def version(self) -> str:
        """Empty: the run is identified by its folder."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @property
    def log_dir(self) -> str:
        """The run's folder."""
        return self.save_dir

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add figures to the line of their step, or begin it.

        Args:
            metrics: figures by name.
            step: Lightning's number of training batches.

        Raises:
            InputError: when the file cannot be written.
        """
        values = _plain(self._axis.add_to(metrics)) | ({} if step is None else {"step": step})
        row = OpenRow(values, AXIS in metrics)
        continues = self._open is not None and self._open.continued_by(row)
        if self._open is not None and continues:
            row = self._open.with_figures_of(row)
        if row.values.keys() <= set(self._columns):
            self._put(row.values, continues)
        else:
            self._add_columns(row.values, continues)
        self._open = row
        self._num_rows += not continues

    def log_alert(self, title: str, text: str) -> None:
        """Write the text to the column ``watchdog``; the title is part of the text."""
        self.log_metrics({"watchdog": text})

    def position(self, metrics: Mapping[str, Any], step: int) -> dict[str, Any]:
        """What a checkpoint stores, so that a resumed run writes the same file.

        Args:
            metrics: figures that will be logged after the checkpoint and belong to it.
            step: their step.

        Returns:
            The number of complete ``rows``, the figures of the ``row`` that the resumed run logs first, and its
            ``step``.
        """
        complete, row = self._num_rows, self._open
        if metrics:
            unwritten = OpenRow(_plain(self._axis.merged(metrics)) | {"step": step}, AXIS in metrics)
            continues = row is not None and row.continued_by(unwritten)
            complete -= continues
            row = row.with_figures_of(unwritten) if row is not None and continues else unwritten
        elif row is not None:
            complete -= 1
        values = {} if row is None else dict(row.values)
        return {"rows": complete, "step": values.pop("step", None if values else step), "row": values}

    @rank_zero_only
    def rewind(self, num_rows: int) -> None:
        """Discard the lines after the first ``num_rows``, which the run writes again.

        Args:
            num_rows: number of complete lines that a checkpoint was saved with.
        """
        columns, lines = self._read()
        self._open = None
        if num_rows < len(lines):
            self._write(columns, lines[:num_rows])
            self._num_rows = num_rows

    def _put(self, row: Mapping[str, Any], continues: bool) -> None:
        """Append a line, or write the last one again, with its earlier figures: no moment loses them."""
        try:
            with self.path.open("r+", newline="") as file:
                self._start = file.seek(self._start) if continues else file.seek(0, os.SEEK_END)
                csv.DictWriter(file, self._columns).writerow(row)
                file.truncate()
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from None

    def _add_columns(self, row: Mapping[str, Any], continues: bool) -> None:
        """Write the whole file again, with a line that has new columns."""
        columns, lines = self._read()
        first = [name for name in FIRST_COLUMNS if name in row]
        self._columns = list(dict.fromkeys([*self._columns, *columns, *first, *row]))
        self._start = self._write(self._columns, [*lines[: len(lines) - continues], row])

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        """The columns and the lines of the file; none without one; raises ``InputError`` if it cannot be read."""
        if not self.path.is_file():
            return [], []
        try:
            with self.path.open(newline="") as file:
                reader = csv.DictReader(file)
                return list(reader.fieldnames or ()), list(reader)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"cannot read {self.path}: {error}") from None

    def _write(self, columns: list[str], lines: Sequence[Mapping[str, Any]]) -> int:
        """Replace the file, and return the position of its last line."""
        with atomic(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(lines[:-1])
            position = file.tell()
            writer.writerows(lines[-1:])
        return position


def _plain(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Figures as text, integers and floats, which a checkpoint can store."""
    return {name: value if isinstance(value, str | int) else float(value) for name, value in metrics.items()}
