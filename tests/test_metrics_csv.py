"""``metrics.csv``: one line per step, and exactly the same lines after a resume."""

import csv

import pytest

from lightning_gen.loggers import RunCSVLogger


def lines(folder) -> list[str]:
    return (folder / "metrics.csv").read_text().splitlines()


def rows(folder) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_the_figures_of_a_step_are_one_line(tmp_path):
    logger = RunCSVLogger(tmp_path)
    logger.log_metrics({"loss": 0.5, "images_seen": 3.9999998, "epoch": 0}, step=1)
    logger.log_metrics({"lr": 0.1}, step=1)
    logger.log_metrics({"val_loss": 0.7, "images_seen": 4, "epoch": 0}, step=1)
    logger.log_metrics({"fid": 9.0, "images_seen": 4}, step=2)  # a score at the end of the run
    logger.log_alert("nan", "watchdog: NaN")
    logger.log_metrics({"loss": 0.25, "images_seen": 6, "epoch": 1}, step=2)
    logger.log_metrics({"lr": 0.2}, step=3)
    assert lines(tmp_path) == [
        "images_seen,epoch,step,loss,lr,val_loss,fid,watchdog",
        "4,0,1,0.5,0.1,0.7,9.0,watchdog: NaN",
        "6,1,2,0.25,,,,",
        "6,,3,,0.2,,,",
    ]
    assert logger.log_dir == logger.save_dir == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_no_figure_replaces_another(tmp_path):
    """Under gradient accumulation several batches have one step; a second alert has the column of the first."""
    logger = RunCSVLogger(tmp_path)
    for images_seen in (2, 4):
        logger.log_metrics({"loss": 1 / images_seen, "images_seen": images_seen}, step=0)
    for text in ("first", "second"):
        logger.log_alert("alert", text)
    assert lines(tmp_path)[1:] == ["2,0,0.5,", "4,0,0.25,first", "4,,,second"]


def test_a_figure_of_the_next_batch_does_not_hide_its_images(tmp_path):
    """A learning rate that is logged before the batch, without images_seen, is in the batch's line."""
    logger = RunCSVLogger(tmp_path)
    logger.log_metrics({"loss": 0.5, "images_seen": 2}, step=0)
    logger.log_metrics({"lr": 0.1}, step=1)
    logger.log_metrics({"loss": 0.25, "images_seen": 4}, step=1)
    assert rows(tmp_path) == [
        {"images_seen": "2", "step": "0", "loss": "0.5"},
        {"images_seen": "4", "step": "1", "loss": "0.25", "lr": "0.1"},
    ]


def test_every_figure_is_on_disk_when_the_call_returns(tmp_path):
    logger = RunCSVLogger(tmp_path)
    for number, name in enumerate(("loss", "lr", "loss")):
        logger.log_metrics({name: number, "images_seen": 2 * (1 + number // 2)}, step=number // 2)
        assert any(row.get(name) == str(number) for row in rows(tmp_path))


FIGURES = [
    ({"loss": 0.5, "images_seen": 2.0, "epoch": 0}, 0),
    ({"loss": 0.25, "images_seen": 4.0, "epoch": 0}, 1),
    ({"val_loss": 0.3, "images_seen": 4.0, "epoch": 0}, 1),
    ({"lr": 0.1}, 1),
    ({"fid": 3.0, "images_seen": 4.0, "epoch": 0}, 1),
    ({"loss": 0.125, "images_seen": 6.0, "epoch": 1}, 2),
]


@pytest.mark.parametrize("pending", [False, True], ids=["after a figure", "before a figure"])
@pytest.mark.parametrize("saved", range(len(FIGURES)))
def test_a_resumed_run_writes_the_same_file(tmp_path, saved, pending):
    """The checkpoint is saved after the first figures, before or after Lightning has written those of its step."""
    whole, resumed = RunCSVLogger(tmp_path / "whole"), RunCSVLogger(tmp_path / "resumed")
    for figures, step in FIGURES:
        whole.log_metrics(figures, step=step)
    for figures, step in FIGURES[:saved]:
        resumed.log_metrics(figures, step=step)
    figures, step = FIGURES[saved]
    position = resumed.position(figures if pending else {}, step)
    for figures, step in FIGURES[saved:]:
        resumed.log_metrics({name: value if name == "images_seen" else 7.0 for name, value in figures.items()}, step)
    again = RunCSVLogger(tmp_path / "resumed")
    again.rewind(position["rows"])
    if position["row"]:
        again.log_metrics(position["row"], step=position["step"])
    for figures, step in FIGURES[saved + pending :]:
        again.log_metrics(figures, step=step)
    assert rows(tmp_path / "resumed") == rows(tmp_path / "whole")
    assert again.position({}, 9) == whole.position({}, 9)


def test_csv_survives_an_interrupted_write(tmp_path):
    (tmp_path / "metrics.csv").write_text("images_seen,loss\n2,0.5\n4,0.")
    RunCSVLogger(tmp_path).log_metrics({"loss": 0.25, "images_seen": 6})
    assert lines(tmp_path) == ["images_seen,loss", "2,0.5", "4,0.", "6,0.25"]
