"""The command ``sweep``: searches hyper-parameters on this machine, by the sweep files that W&B reads too."""

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from lightning_gen.checks import check_at_least
from lightning_gen.cli.catalogue import sweeps
from lightning_gen.cli.commands import PROGRAM
from lightning_gen.cli.runs import check_name, create_run_folder
from lightning_gen.cli.suggestions import did_you_mean
from lightning_gen.errors import InputError
from lightning_gen.sweeps.definition import Sweep, read_sweep
from lightning_gen.sweeps.parameters import as_option
from lightning_gen.sweeps.report import Trial, ranked, save_chart, save_csv, table
from lightning_gen.sweeps.trial import FIT, Outcome, run_trial

STUDY = "lightning_gen.sweeps.study"
"""The module that needs Optuna, which may be missing; it is imported late."""
MAX_REFUSED = 3
"""Trials whose options are refused before any other has run, after which the sweep ends."""


def sweep(
    config: Path,
    trials: int | None = None,
    name: str | None = None,
    runs: str = "runs",
    seed: int = 0,
    prune: bool = True,
) -> None:
    """Search hyper-parameters on this machine: each trial is a run of fit, and unpromising ones are ended early.

    The search space is that of a W&B sweep file, such as those of configs/sweeps. The trials are in
    <runs>/sweeps/<name>. The same command goes on with a sweep that was stopped. W&B and a login are not needed.

    Args:
        config: the sweep file, or the name of one of the package's, such as dcgan_digits.
        trials: number of trials of the whole sweep, including those of earlier calls; default: the file's run_cap, or
            20.
        name: name of the sweep; default: the file's name without its ending.
        runs: folder of all runs.
        seed: seed of the choice of parameters.
        prune: end trials whose scores are worse than those of most earlier trials.

    Raises:
        InputError: if an argument or the file is invalid, Optuna is not installed, or no trial has a score.
    """
    check_at_least(1, prefix="--", trials=trials)
    check_at_least(0, prefix="--", seed=seed)
    config = find_sweep(config)
    definition = read_sweep(config)
    if find_spec("optuna") is None:
        raise InputError("sweep needs the package optuna; pip install 'lightning_gen[sweep]'")
    name = config.stem if name is None else name
    check_name(name)
    folder = Path(runs) / "sweeps" / name
    create_run_folder(folder)
    with only_process(folder), terminable():
        try:
            search(definition, folder, trials or definition.num_trials or 20, seed, prune)
        except KeyboardInterrupt:
            raise SystemExit(128 + signal.SIGINT) from None


def find_sweep(config: Path) -> Path:
    """Find a sweep file.

    Args:
        config: a file, or the name of one of the package's.

    Returns:
        The file.

    Raises:
        InputError: if there is none.
    """
    shipped = sweeps()
    if config.is_file() or config.is_dir():
        return config
    if str(config) in shipped:
        return shipped[str(config)]
    suggestion = did_you_mean(str(config), shipped)
    raise InputError(f"there is no sweep file {config}{suggestion}; the package's are {', '.join(shipped)}")


def search(definition: Sweep, folder: Path, num_trials: int, seed: int, prune: bool) -> None:
    """Run trials until the sweep has as many as requested, and report all of them.

    Args:
        definition: the sweep.
        folder: the sweep's folder.
        num_trials: number of trials, including those of earlier calls.
        seed: seed of the choice of parameters.
        prune: whether to end trials early.

    Raises:
        InputError: if no trial has a score.
    """
    study = import_module(STUDY).Study(folder, definition, seed=seed, prune=prune)
    console = wide_console()
    try:
        while len(study.ended) < num_trials and not study.is_exhausted:
            trial, values = study.ask()
            console.print(f"trial {trial.number}: {described(values, definition)}", highlight=False, soft_wrap=True)
            options = [*definition.fit_options(values), f"--wandb.group={folder.name}"]
            try:
                outcome = run_trial(
                    options,
                    folder / f"{trial.number:04d}",
                    definition.metric,
                    partial(study.should_prune, trial),
                    FIT,
                )
            except BaseException:
                study.interrupt(trial)
                console.print("  stopped; the same command goes on with the sweep")
                raise
            study.tell(trial, outcome)
            console.print(f"  {result_line(outcome, definition)}", markup=False, highlight=False, soft_wrap=True)
            check_promising(trials_of(study), outcome)
    finally:
        report(trials_of(study), definition, folder, console)
    ended = trials_of(study)
    if not any(trial.scores for trial in ended):
        raise InputError(f"no trial has a score: {ended[-1].reason}")


def wide_console() -> Console:
    """A console as wide as the terminal; in a file, as wide as any table."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def described(values: dict[str, Any], definition: Sweep) -> str:
    """The values of a trial's searched parameters in one line, as options."""
    searched = {parameter.name: values[parameter.name] for parameter in definition.searched}
    return " ".join(as_option(name, float(f"{v:.4g}") if isinstance(v, float) else v) for name, v in searched.items())


def result_line(outcome: Outcome, definition: Sweep) -> str:
    """How a trial ended."""
    if outcome.state == "failed":
        return f"failed after {outcome.seconds:.0f} s: {outcome.reason}"
    score = definition.best_of([score.value for score in outcome.scores])
    return f"{outcome.state} after {outcome.seconds:.0f} s: {definition.metric} {score:.4g}"


def check_promising(ended: list[Trial], outcome: Outcome) -> None:
    """End a sweep whose first trials were all refused: the reason is in the file, not in the values of a trial.

    Args:
        ended: the trials that have ended.
        outcome: the outcome of the last.

    Raises:
        InputError: if so.
    """
    if outcome.is_input_error and len(ended) == MAX_REFUSED and all(trial.state == "failed" for trial in ended):
        raise InputError(f"the first {MAX_REFUSED} trials were refused: {outcome.reason}")


def trials_of(study: Any) -> list[Trial]:
    """The trials of a study that have ended by themselves."""
    module = import_module(STUDY)
    names = {state: name for name, state in module.ENDED.items()}
    return [
        Trial(
            trial.number,
            names[trial.state],
            trial.user_attrs["values"],
            module.scores_of(trial),
            trial.user_attrs["seconds"],
            trial.user_attrs["reason"],
        )
        for trial in study.ended
    ]


def report(ended: list[Trial], definition: Sweep, folder: Path, console: Console) -> None:
    """Print the table and the best trial, and write ``trials.csv`` and ``sweep.png``.

    Args:
        ended: the trials.
        definition: the sweep.
        folder: the sweep's folder.
        console: where to print.
    """
    if not any(trial.scores for trial in ended):
        return
    console.print(table(ended, definition))
    save_csv(ended, definition, folder / "trials.csv")
    save_chart(ended, definition, folder / "sweep.png")
    lines = {"Table": str(folder / "trials.csv"), "Chart": str(folder / "sweep.png")}
    first = ranked(ended, definition)[0]
    if first.state == "complete":
        lines["Best"] = str(folder / f"{first.number:04d}")
        lines["Train"] = shlex.join([PROGRAM, "fit", *definition.fit_options(first.values)])
    for label, text in lines.items():
        console.print(f"[bold]{label}[/bold]{' ' * (9 - len(label))}{text}", highlight=False, soft_wrap=True)


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Let one process at a time run a sweep.

    Args:
        folder: the sweep's folder.

    Yields:
        Nothing.

    Raises:
        InputError: if another process runs it.
    """
    try:
        with FileLock(folder / "sweep.lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"another process runs the sweep in {folder}; name another one with --name") from None


@contextmanager
def terminable() -> Iterator[None]:
    """End the trial's process, too, when this one is asked to end by SIGTERM."""

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
