"""The study of a sweep: Optuna chooses parameters, decides which trials to end early, and stores every trial.

The study is a journal in the sweep's folder, so that a sweep that was stopped goes on. Scores are numbered within their
run; trials are compared at the same number.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from lightning_gen.cache import DAMAGE
from lightning_gen.errors import InputError
from lightning_gen.sweeps.definition import Sweep
from lightning_gen.sweeps.trial import Outcome, Score

NAME = "sweep"
JOURNAL = "study.log"
STARTUP_TRIALS = 4
"""Trials that run to their end before the median prunes one."""
FIRST_COMPARED = 2
"""The number of a run's first score that is compared with the median."""
ENDED = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class Study:
    """The trials of a sweep.

    Args:
        folder: the sweep's folder.
        sweep: the sweep's file.
        seed: seed of the choice of parameters.
        prune: whether trials may be ended early.

    Raises:
        InputError: if the folder's study cannot be read, or belongs to another search.
    """

    def __init__(self, folder: Path, sweep: Sweep, *, seed: int = 0, prune: bool = True) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep = sweep
        self.prune = prune
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / JOURNAL
        try:
            drop_incomplete_line(file)
            backend = JournalFileBackend(str(file), lock_obj=JournalFileOpenLock(str(file)))
            self.optuna = optuna.create_study(
                storage=JournalStorage(backend),
                study_name=NAME,
                load_if_exists=True,
                direction="maximize" if sweep.maximize else "minimize",
                pruner=pruner_of(sweep),
            )
            trials = self.optuna.get_trials(deepcopy=False)
            search = self.optuna.user_attrs.get("search")
        except (*DAMAGE, AssertionError, optuna.exceptions.OptunaError):
            raise InputError(f"{file} is damaged; name another sweep with --name") from None
        if search not in (None, search_of(sweep)):
            raise InputError(f"{folder} has another search space, metric or command; name another sweep with --name")
        self.optuna.set_user_attr("search", search_of(sweep))
        # another seed than that of the trials so far, which would be chosen again
        chooser = TPESampler if sweep.method == "bayes" else RandomSampler
        self.optuna.sampler = chooser(seed=seed + len(trials))
        for trial in trials:
            if trial.state == TrialState.RUNNING:  # its process was killed
                self.interrupt(trial)

    @property
    def ended(self) -> list[FrozenTrial]:
        """The trials that ended by themselves, in their order."""
        trials = self.optuna.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state.is_finished() and "seconds" in trial.user_attrs]

    @property
    def is_exhausted(self) -> bool:
        """Whether a grid has no further values."""
        return self.sweep.method == "grid" and self.next_of_grid() is None

    def next_of_grid(self) -> dict[str, Any] | None:
        """The first values of the grid that no trial has had; None if there are none."""
        names = [parameter.name for parameter in self.sweep.searched]
        had = [trial.params for trial in self.ended]
        for values in product(*(parameter.choices() for parameter in self.sweep.searched)):
            chosen = dict(zip(names, values, strict=True))
            if chosen not in had:
                return chosen
        return None

    def ask(self) -> tuple[optuna.Trial, dict[str, Any]]:
        """Begin a trial: the trial, and the values of all parameters."""
        if self.sweep.method == "grid" and (chosen := self.next_of_grid()) is not None:
            self.optuna.enqueue_trial(chosen)
        trial = self.optuna.ask()
        values = {parameter.name: parameter.suggest(trial) for parameter in self.sweep.parameters}
        trial.set_user_attr("values", values)
        return trial, values

    def should_prune(self, trial: optuna.Trial, number: int, score: Score) -> bool:
        """Report a score of a trial; whether to end it."""
        trial.report(score.value, number)
        return self.prune and bool(trial.should_prune())

    def tell(self, trial: optuna.Trial, outcome: Outcome) -> None:
        """End a trial."""
        trial.set_user_attr("scores", [asdict(score) for score in outcome.scores])
        trial.set_user_attr("seconds", outcome.seconds)
        trial.set_user_attr("reason", outcome.reason)
        values = [score.value for score in outcome.scores]
        state = ENDED[outcome.state]
        self.optuna.tell(trial, self.sweep.best_of(values) if state == TrialState.COMPLETE else None, state=state)

    def interrupt(self, trial: optuna.Trial | FrozenTrial) -> None:
        """End a trial whose run ended with the sweep's process. It does not count, and its values are tried again."""
        self.optuna.tell(trial.number, state=TrialState.FAIL)
        if self.sweep.method != "grid":
            self.optuna.enqueue_trial(trial.params)


def drop_incomplete_line(journal: Path) -> None:
    """Remove what a killed process wrote of a line, which the next line would be appended to."""
    content = journal.read_bytes() if journal.is_file() else b""
    if not content.endswith(b"\n") and content:
        os.truncate(journal, content.rfind(b"\n") + 1)


def scores_of(trial: FrozenTrial) -> list[Score]:
    """The scores of a trial that has ended."""
    return [Score(**score) for score in trial.user_attrs.get("scores", ())]


def search_of(sweep: Sweep) -> str:
    """What must be the same for trials to be comparable, as text."""
    search = {name: value for name, value in asdict(sweep).items() if name not in ("halving", "num_trials", "options")}
    return json.dumps(search | {"options": options_of(sweep.options)})


def options_of(options: Sequence[str]) -> list[str]:
    """The options of a command, with the names alone of its configurations, which may have moved."""
    return [Path(option).name if option.endswith((".yaml", ".yml")) else option for option in options]


def pruner_of(sweep: Sweep) -> BasePruner:
    """The pruner: successive halving if the file has ``early_terminate``, otherwise the median of earlier trials."""
    if sweep.halving is not None:
        first, factor = sweep.halving
        return SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)
    return MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=FIRST_COMPARED)
