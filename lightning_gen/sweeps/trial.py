"""One trial: ``fit`` in a process of its own, whose scores are read from ``metrics.csv`` while it runs."""

import csv
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

State = Literal["complete", "pruned", "failed"]
FIT = (sys.executable, "-m", "lightning_gen", "fit")
POLL_SECONDS = 0.5
READ_SHARE = 0.02
"""The largest share of the time that is spent on reading scores of a long run."""
STOP_SECONDS = 120
"""How long a pruned run may take to end its batch and save its checkpoint."""
ERROR = re.compile(r"error: |[\w.]+(Error|Exception)\b")
"""The begin of a line that names an error."""


@dataclass(frozen=True)
class Score:
    """A score of a run.

    Attributes:
        images_seen: the number of images that the model was trained on.
        value: the score.
    """

    images_seen: int
    value: float


@dataclass
class Outcome:
    """How a trial ended.

    Attributes:
        state: complete, pruned or failed.
        scores: the scores of its run, in the order of training.
        seconds: how long it took.
        reason: why it failed; empty if it did not.
        is_input_error: whether its command was refused.
    """

    state: State
    scores: list[Score] = field(default_factory=list)
    seconds: float = 0.0
    reason: str = ""
    is_input_error: bool = False


def run_trial(
    options: Sequence[str],
    folder: Path,
    metric: str,
    should_prune: Callable[[int, Score], bool],
    program: Sequence[str] = FIT,
) -> Outcome:
    """Train a model, and stop it if its scores are not promising.

    Args:
        options: the options of ``fit``.
        folder: the trial's folder, ``<runs>/<name>``; the output of ``fit`` is written to ``<folder>/output.txt``.
        metric: name of the score.
        should_prune: called with the number of each new score, from 1 on, and the score; True ends the run.
        program: the command that the options are added to.

    Returns:
        The outcome. A run without a finite score has failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [*program, *options, f"--runs={folder.parent}", f"--name={folder.name}"]
    start, is_pruned = time.monotonic(), False
    scores: list[Score] = []
    output = folder / "output.txt"
    with output.open("w") as file:
        # a session of its own: Ctrl-C is for the sweep, which then ends the run
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            size, pause, is_running = -1, POLL_SECONDS, True
            while is_running:
                is_running = not ended_within(process, pause)
                began = time.monotonic()
                new_size = size_of(folder)
                if new_size == size:
                    continue
                size = new_size
                found = read_scores(folder, metric)
                for number, score in enumerate(found[len(scores) :], start=len(scores) + 1):
                    is_pruned = is_running and (is_pruned or should_prune(number, score))
                scores = found
                if is_pruned:
                    stop(process)
                    is_running = False
                pause = max(POLL_SECONDS, (time.monotonic() - began) / READ_SHARE)
        finally:
            stop(process)
    seconds = time.monotonic() - start
    if is_pruned:
        return Outcome("pruned", scores, seconds)
    if process.returncode != 0 or not scores:
        reason = last_error(output) if process.returncode else f"{metric} was not logged"
        return Outcome("failed", scores, seconds, reason, is_input_error=process.returncode == 2)
    return Outcome("complete", scores, seconds)


def ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a process; whether it has ended."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that may have ended: a run saves its checkpoint, and is killed if it takes too long."""
    if process.poll() is None:
        process.terminate()
        if not ended_within(process, STOP_SECONDS):
            process.kill()
            process.wait()


def metrics_files(folder: Path) -> list[Path]:
    """The files of figures of a trial's runs: one, unless the trial was repeated."""
    return sorted(folder.glob("*/metrics.csv"))


def size_of(folder: Path) -> int:
    """The size of the newest file of figures; 0 if there is none."""
    files = metrics_files(folder)
    return files[-1].stat().st_size if files else 0


def read_scores(folder: Path, metric: str) -> list[Score]:
    """The finite scores of a trial's newest run.

    Args:
        folder: the trial's folder.
        metric: name of the column.

    Returns:
        The scores in the order of the file, without a last line that is being written.
    """
    files = metrics_files(folder)
    if not files:
        return []
    text = files[-1].read_text()
    lines = text[: text.rfind("\n") + 1].splitlines()
    scores = []
    for row in csv.DictReader(lines):
        try:
            score = Score(int(row.get("images_seen") or 0), float(row.get(metric) or math.nan))
        except ValueError:
            continue
        if math.isfinite(score.value):
            scores.append(score)
    return scores


def last_error(output: Path) -> str:
    """The error that a run's output names, else its last line."""
    lines = [line.rstrip() for line in output.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.match(line)]
    return (errors or lines or ["the run ended without a message"])[-1].strip().removeprefix("error: ")
