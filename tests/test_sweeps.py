"""Sweeps: the search space of W&B's files, the study that is stopped and goes on, and trials that are ended early."""

import sys
import textwrap
from pathlib import Path

import optuna
import pytest
import yaml

from lightning_gen.errors import InputError
from lightning_gen.sweeps.definition import Sweep, read_sweep
from lightning_gen.sweeps.parameters import as_option, read_parameter
from lightning_gen.sweeps.report import Trial, rows_of, save_chart, save_csv
from lightning_gen.sweeps.study import Study, scores_of
from lightning_gen.sweeps.trial import Outcome, Score, run_trial

FILE = {
    "program": "train.py",
    "method": "bayes",
    "metric": {"name": "fidelity/fid"},
    "parameters": {
        "model.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "model.width": {"values": [4, 8]},
        "trainer.max_epochs": {"value": 3},
    },
    "command": ["python", "${program}", "fit", "--config", "some.yaml", "${args}", "--compile=false"],
}


def sweep_of(folder: Path, **changes) -> Sweep:
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**FILE, **changes}, sort_keys=False))
    return read_sweep(folder / "sweep.yaml")


def scores(*values: float) -> list[Score]:
    return [Score(100 * i, value) for i, value in enumerate(values, 1)]


# ---- files


def test_the_options_of_fit_have_the_parameters_in_their_place(tmp_path):
    (tmp_path / "some.yaml").touch()
    sweep = sweep_of(tmp_path)
    assert sweep.fit_options({"model.lr": 1e-3, "model.width": 8}) == [
        *("--config", str(tmp_path / "some.yaml"), "--model.lr=0.001", "--model.width=8", "--compile=false"),
    ]
    assert [parameter.name for parameter in sweep.searched] == ["model.lr", "model.width"]
    assert [as_option("a", value) for value in ("x", True, None, [1, 2], 1e-5)] == [
        *("--a=x", "--a=true", "--a=null", "--a=[1, 2]", "--a=1e-05")
    ]


@pytest.mark.parametrize(
    ("entry", "allowed"),
    [
        ({"value": [1, 2]}, lambda value: value == [1, 2]),
        ({"values": ["a", None, [3]]}, lambda value: value in ("a", None, [3])),
        ({"min": 2, "max": 5}, lambda value: isinstance(value, int) and 2 <= value <= 5),
        ({"min": 0.5, "max": 1}, lambda value: 0.5 <= value <= 1),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, lambda value: value in (0, 0.25, 0.5, 0.75, 1)),
        ({"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}, lambda value: 1e-4 <= value <= 1e-2),
        (
            {"distribution": "q_log_uniform_values", "min": 8, "max": 64, "q": 8},
            lambda value: isinstance(value, int) and value % 8 == 0,
        ),
    ],
)
def test_values_of_each_distribution(entry, allowed):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = [read_parameter("model.x", entry).suggest(study.ask()) for _ in range(20)]
    assert all(map(allowed, found))
    assert entry.get("value") or len({str(value) for value in found}) > 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "magic"}, "method is 'magic'; it must be one of bayes, random, grid"),
        ({"metric": {"goal": "minimize"}}, "metric.name must be"),
        ({"metric": {"name": "fid", "goal": "less"}}, "metric.goal is 'less'"),
        ({"trials": 3}, "there is no entry 'trials'"),
        ({"command": ["python", "fit"]}, "command must run fit"),
        ({"parameters": {}}, "parameters must be a mapping"),
        ({"parameters": {"a": {"value": 1}}}, "parameters are all constant"),
        ({"parameters": {"a": {"min": 1}}}, "neither value, values nor min and max"),
        ({"parameters": {"a": {"min": 2, "max": 1}}}, "min is 2 and max is 1"),
        ({"parameters": {"a": {"min": "1e-4", "max": 1}}}, "parameters.a.min is '1e-4'; it must be a number"),
        ({"parameters": {"a": {"distribution": "normal", "mu": 0}}}, "'normal'; the distributions are"),
        ({"parameters": {"a": {"distribution": "log_uniform_values", "min": 0, "max": 1}}}, "must be above 0"),
        ({"parameters": {"a": {"min": 0.0, "max": 1.0}}, "method": "grid"}, "method grid needs values"),
        ({"early_terminate": {"type": "hyperband"}}, "early_terminate must be"),
        ({"run_cap": 0}, "run_cap is 0"),
    ],
)
def test_an_invalid_file_is_one_line(tmp_path, changes, message):
    with pytest.raises(InputError, match=r"sweep\.yaml: ") as error:
        sweep_of(tmp_path, **changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# ---- studies


def run(study: Study, *values: float, state: str = "complete") -> int:
    """Run a trial with these scores; whether it was pruned, and then after how many."""
    trial, _ = study.ask()
    for number, score in enumerate(scores(*values), 1):
        if study.should_prune(trial, number, score):
            study.tell(trial, Outcome("pruned", scores(*values)[:number]))
            return number
    study.tell(trial, Outcome(state, scores(*values), 1.0, "because" if state == "failed" else ""))
    return 0


def test_trials_below_the_median_are_ended_early(tmp_path):
    study = Study(tmp_path, sweep_of(tmp_path))
    assert [run(study, 30, 20, 10) for _ in range(4)] == [0] * 4
    assert run(study, 90, 50, 40) == 2  # never by its first score
    assert run(study, 90, 15, 9) == 0
    assert [trial.state.name for trial in study.ended] == ["COMPLETE"] * 4 + ["PRUNED", "COMPLETE"]
    without = Study(tmp_path / "without", sweep_of(tmp_path), prune=False)
    assert [run(without, *values) for values in [(30, 20, 10)] * 4 + [(90, 50, 40)]] == [0] * 5


def test_a_sweep_that_was_stopped_goes_on(tmp_path):
    sweep = sweep_of(tmp_path)
    whole = Study(tmp_path, sweep)
    run(whole, 30, 20)
    run(whole, state="failed")
    _, values = whole.ask()  # the process is killed during this trial
    stopped = Study(tmp_path, sweep)
    trial, others = stopped.ask()
    assert others == values
    stopped.interrupt(trial)  # Ctrl-C
    again = Study(tmp_path, sweep)
    assert [trial.number for trial in again.ended] == [0, 1]
    assert scores_of(again.ended[0]) == scores(30, 20)
    assert again.ask()[1] == values
    with pytest.raises(InputError, match="another search space"):
        Study(tmp_path, sweep_of(tmp_path, metric={"name": "fidelity/kid"}))
    with (tmp_path / "study.log").open("a") as journal:
        journal.write('{"op_code": 5, "wor')  # killed while it wrote
    assert len(Study(tmp_path, sweep).ended) == 2
    (tmp_path / "study.log").write_text("{}\n")
    with pytest.raises(InputError, match="is damaged"):
        Study(tmp_path, sweep)


def test_a_grid_ends_when_each_value_was_tried(tmp_path):
    grid = {"model.width": {"values": [4, 8]}, "model.layers": {"min": 1, "max": 2}}
    sweep = sweep_of(tmp_path, method="grid", parameters=grid)
    study, found = Study(tmp_path, sweep), []
    study.interrupt(study.ask()[0])  # is tried again
    while not study.is_exhausted:
        trial, values = study.ask()
        study.tell(trial, Outcome("complete", scores(1.0)))
        found.append((values["model.width"], values["model.layers"]))
    assert found == [(4, 1), (4, 2), (8, 1), (8, 2)]
    assert Study(tmp_path, sweep).is_exhausted


def test_the_best_score_of_a_run_counts_in_the_direction_of_the_goal(tmp_path):
    for goal, best in (("minimize", 1.0), ("maximize", 3.0)):
        sweep = sweep_of(tmp_path, metric={"name": "fidelity/psnr", "goal": goal})
        study = Study(tmp_path / goal, sweep)
        run(study, 2, 1, 3)
        assert study.ended[0].value == best


# ---- trials

PROGRAM = """
    import signal, sys, time
    from pathlib import Path
    scores, runs, name = [option.partition("=")[2] for option in sys.argv[1:]]
    folder = Path(runs) / name / "2026"
    folder.mkdir(parents=True)
    with (folder / "metrics.csv").open("w") as file:
        print("images_seen,fid", file=file)
        for number, score in enumerate(scores.split(","), 1):
            print(number * 100, score, sep=",", file=file, flush=True)
            time.sleep(0.1)
    signal.signal(signal.SIGTERM, lambda *_: ((folder / "stopped").touch(), sys.exit(143)))
    if "wait" in scores:
        time.sleep(60)
    if "error" in scores:
        print("error: the loss is not finite" if "input" in scores else "  at line 3\\nValueError: x\\nbye")
        sys.exit(2 if "input" in scores else 1)
"""


@pytest.fixture
def program(tmp_path):
    """Stands for ``fit``, which takes seconds to start: it writes the scores of its first option."""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    return [sys.executable, str(tmp_path / "program.py")]


def test_the_outcome_of_a_trial(tmp_path, program):
    def outcome(name, values):
        return run_trial([f"--scores={values}"], tmp_path / name, "fid", lambda number, score: False, program)

    complete = outcome("complete", "3.5,nan,2.5")
    assert (complete.state, complete.scores) == ("complete", [Score(100, 3.5), Score(300, 2.5)])
    failed = outcome("failed", "3.5,error")
    assert (failed.state, failed.reason, failed.is_input_error) == ("failed", "ValueError: x", False)
    refused = outcome("refused", "input error")
    assert (refused.state, refused.reason) == ("failed", "the loss is not finite")
    assert refused.is_input_error
    assert outcome("none", "nan").reason == "fid was not logged"


def test_a_run_is_stopped_when_it_is_pruned(tmp_path, program):
    asked = []

    def should_prune(number, score):
        asked.append((number, score.value))
        return number == 2

    outcome = run_trial(["--scores=3.0,9.0,wait"], tmp_path / "0001", "fid", should_prune, program)
    assert (outcome.state, asked) == ("pruned", [(1, 3.0), (2, 9.0)])
    assert (tmp_path / "0001" / "2026" / "stopped").exists()  # it was asked, not killed
    assert outcome.seconds < 30


def test_a_run_does_not_survive_its_sweep(tmp_path, program):
    def interrupt(number, score):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(["--scores=3.0,wait"], tmp_path / "0001", "fid", interrupt, program)
    assert (tmp_path / "0001" / "2026" / "stopped").exists()


# ---- reports


def test_the_table_and_the_chart(tmp_path):
    sweep = sweep_of(tmp_path)
    trials = [
        Trial(0, "complete", {"model.lr": 1e-3, "model.width": 4}, scores(30, 20, 25), 9.0, ""),
        Trial(1, "failed", {"model.lr": 2e-3, "model.width": 8}, [], 1.0, "no memory"),
        Trial(2, "pruned", {"model.lr": 3e-3, "model.width": 8}, scores(10), 4.0, ""),
        Trial(3, "complete", {"model.lr": 4e-3, "model.width": 8}, scores(30, 15), 9.0, ""),
    ]
    columns, rows = rows_of(trials, sweep)
    assert columns == ["trial", "state", "fidelity/fid", "images_seen", "seconds", "model.lr", "model.width"]
    assert [row[:4] for row in rows] == [
        [3, "complete", 15, 200],
        [0, "complete", 20, 200],
        [2, "pruned", 10, 100],
        [1, "failed", None, None],
    ]
    save_csv(trials, sweep, tmp_path / "trials.csv")
    assert (tmp_path / "trials.csv").read_text().splitlines()[-1] == "1,failed,,,1.0,0.002,8,no memory"
    save_chart(trials, sweep, tmp_path / "sweep.png")
    save_chart(trials[1:2], sweep, tmp_path / "failed.png")
    assert (tmp_path / "sweep.png").read_bytes()[:4] == b"\x89PNG"
