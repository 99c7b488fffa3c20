"""``--loggers``: the loggers add to one another, and each has the figures, the pictures and the score card of a run."""

import sqlite3
import sys
from pathlib import Path

import mlflow
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_gen.cli import main
from lightning_gen.errors import InputError
from lightning_gen.logger_types import AlertLogger, CardLogger, MediaLogger
from lightning_gen.loggers import RunCSVLogger
from lightning_gen.loggers.choice import check_loggers, make_loggers
from tests.test_cli import DIGITS, TINY, rows_of

LIMITS = [
    *("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.log_every_n_steps=1"),
    *("--fidelity.features=null", "--watchdog.every_n_batches=100"),
]


@pytest.fixture
def place(tmp_path, monkeypatch, shared_cache) -> Path:
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(shared_cache))
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")  # an earlier logger of this process may have set another
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fit(place: Path, *options: str) -> int:
    return main(["fit", "--config", DIGITS, f"--runs={place / 'runs'}", "--name=run", *TINY, *LIMITS, *options])


def run_of(place: Path) -> Path:
    [folder] = (place / "runs" / "run").iterdir()
    return folder


def test_tensorboard_and_mlflow_have_what_the_csv_file_has(place):
    """One run, resumed for another epoch, is one run in each of them."""
    loggers = ["--loggers", "tensorboard", "mlflow"]
    assert fit(place, *loggers) == 0
    assert fit(place, *loggers, "--ckpt_path=last", "--trainer.max_epochs=2") == 0
    run = run_of(place)
    for logger in make_loggers(["tensorboard", "mlflow"], run, "run", {})[1:]:
        logger.log_score_card({"protocol": {"fid": "fid10k_train"}, "scores": {"fid": 3.5}})
        logger.log_alert("nan", "watchdog: NaN")
        logger.finalize("success")
    losses = {int(row["images_seen"]): float(row["loss/generator"]) for row in rows_of(run) if row["loss/generator"]}
    assert list(losses) == [256, 512, 768, 1024]
    assert not (run / "wandb").exists()

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert {event.step: pytest.approx(event.value) for event in events.Scalars("loss/generator")} == losses
    assert [event.step for event in events.Images("samples")] == [512, 1024]
    assert {"score_card/text_summary", "alert/nan/text_summary"} <= set(events.Tags()["tensors"])
    assert events.Scalars("score_card/fid")[0].value == 3.5

    with sqlite3.connect(place / "mlflow.db") as store:
        logged = store.execute("select step, value from metrics where key = 'loss/generator'").fetchall()
        params = dict(store.execute("select key, value from params").fetchall())
        tags = dict(store.execute("select key, value from tags").fetchall())
        [(folder,)] = store.execute("select artifact_uri from runs").fetchall()
    assert tags["alert.nan"] == "watchdog: NaN"
    assert dict(logged) == pytest.approx(losses)
    assert (params["model"], params["width"], params["data/name"]) == ("DCGAN", "4", "digits")
    files = {str(path.relative_to(folder)) for path in Path(folder.removeprefix("file:")).rglob("*.*")}
    assert {"samples/000000000512_0.png", "samples/000000001024_0.png", "score_card.json"} <= files


def test_a_missing_package_is_one_line(place, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("lightning_gen.loggers.choice.find_spec", lambda name: None)
    assert fit(place, "--loggers", "csv", "tensorboard") == 2
    error = capsys.readouterr().err
    assert error == (
        "error: --loggers tensorboard needs the package tensorboard; pip install 'lightning_gen[tensorboard]'\n"
    )
    assert not (place / "runs").exists()
    check_loggers(["csv"])
    with pytest.raises(InputError, match=r"pip install 'lightning_gen\[mlflow\]'"):
        check_loggers(["mlflow"])


def test_an_unknown_logger_is_one_line(place, capsys):
    assert fit(place, "--loggers", "csv", "tensorbord") == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "loggers" in error
    assert "tensorboard" in error


def test_loggers_of_the_configuration_are_added(place):
    config = {
        "loggers": ["csv"],
        "trainer": {"logger": [{"class_path": "CSVLogger", "init_args": {"save_dir": str(place / "own")}}]},
    }
    (place / "more.yaml").write_text(yaml.safe_dump(config))
    assert fit(place, f"--config={place / 'more.yaml'}") == 0
    assert (run_of(place) / "metrics.csv").is_file()
    assert list((place / "own").rglob("metrics.csv"))
    assert fit(place, "--trainer.logger=false", "--name=none") == 0
    [folder] = (place / "runs" / "none").iterdir()
    assert not (folder / "metrics.csv").exists()


def test_what_each_logger_takes(place):
    loggers = make_loggers(["wandb", "tensorboard", "mlflow"], place / "run", "experiment", {"mode": "offline"})
    assert isinstance(loggers[0], RunCSVLogger)
    for logger in loggers[1:]:
        assert isinstance(logger, MediaLogger)
        assert isinstance(logger, CardLogger)
    assert all(isinstance(logger, AlertLogger) for logger in loggers)
    assert [type(logger) for logger in make_loggers([], place / "run", "experiment", {})] == [RunCSVLogger]
