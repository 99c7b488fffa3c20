"""The comparison of runs: what is read from their folders, the table, and the files."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console

from lightning_gen.cli import main
from lightning_gen.comparison.charts import draw_curves, panels_of, short, to_svg
from lightning_gen.comparison.curves import read_curves, running_mean
from lightning_gen.comparison.page import make_page
from lightning_gen.comparison.runs import Run, differences, find_runs, read_runs
from lightning_gen.comparison.scores import Key, Score, read_scores
from lightning_gen.comparison.table import tabulate, to_rich
from lightning_gen.errors import InputError
from lightning_gen.evaluation import Band, ScoreCard
from lightning_gen.evaluation.card_file import read_card
from lightning_gen.images import save_png

FID = "fid1437_train@classifier"


def card(fid: float, date: str = "2026-01-01T00:00:00+00:00", **changes) -> ScoreCard:
    values = {
        "scores": {"fid": fid},
        "metrics": ("fid",),
        "protocol": {"fid": FID},
        "subject": "samples",
        "generated": "DCGAN",
        "num_generated": 1437,
        "reference": "digits/train",
        "reference_key": "0",
        "num_reference": 1437,
        "split": "train",
        "image_shape": (1, 16, 16),
        "precision": "float32",
        "images_seen": 100,
        "date": date,
    }
    return ScoreCard(**{**values, **changes})


def make_run(folder: Path, model: str = "DCGAN", factor: float = 1.0, seconds: bool = True, **options) -> Path:
    """A run's folder with everything that a comparison reads."""
    folder.mkdir(parents=True)
    config = {
        "seed_everything": 0,
        "model": {"class_path": f"lightning_gen.models.{model}", "init_args": {"width": 8, **options}},
        "data": {"name": "digits", "batch_size": 32},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with (folder / "metrics.csv").open("w", newline="") as file:
        names = [
            "images_seen",
            "epoch",
            "loss/generator",
            "loss/discriminator",
            "speed/seconds",
            "watchdog",
            "fidelity/fid",
        ]
        writer = csv.DictWriter(file, [*names, "fidelity/fid1437_train_classifier"])
        writer.writeheader()
        for step in range(1, 101):
            row = {"images_seen": 100 * step, "epoch": 0, "loss/generator": factor * 2 / step}
            row |= {"loss/discriminator": "nan" if step == 3 else -factor}
            row |= {"speed/seconds": step / 2} if seconds else {}
            writer.writerow(row)
        for images_seen, fid in ((5000, 30.0), (10000, 20.0)):
            scores = dict.fromkeys(("fidelity/fid", "fidelity/fid1437_train_classifier"), factor * fid)
            writer.writerow({"images_seen": images_seen, "watchdog": "a warning", **scores})
    for epoch, fid in ((0, 30.0), (1, 20.0)):
        card(factor * fid, images_seen=5000 * (epoch + 1)).save(folder / "evaluation" / f"epoch000{epoch}_{FID}.json")
    grid = torch.full((3, 40, 60), 90, dtype=torch.uint8)
    save_png(grid, folder / "samples" / "interpolation_000010000.png")
    save_png(grid // 2, folder / "samples" / "samples_000005000.png")
    save_png(grid, folder / "samples" / "samples_000010000.png")
    return folder


@pytest.fixture
def runs(tmp_path) -> list[Run]:
    """Two runs of one model, the second of which was evaluated with three draws."""
    first = make_run(tmp_path / "runs" / "small" / "2026-01-01_00-00-00")
    second = make_run(tmp_path / "runs" / "large" / "2026-01-02_00-00-00", factor=0.5, seconds=False, width=64)
    draws = tuple({"fid": fid} for fid in (9.0, 10.0, 11.0))
    evaluated = card(10.0, scores={"fid": 10.0, "fid_std": 7.0}, draws=draws, spread={"fid": 1.0})
    evaluated.save(second / "evaluation" / "best_ema_3draws.json")
    return read_runs([first, second])


def text_of(runs: list[Run], width: int = 200) -> str:
    console = Console(width=width, record=True, quiet=True)
    console.quiet = False
    with console.capture() as captured:
        console.print(to_rich(tabulate(runs), width))
    return captured.get()


def test_a_run_is_read_from_its_folder(runs):
    run = runs[0]
    assert run.name == "small"
    assert (run.settings.model, run.settings.data) == ("DCGAN", "digits")
    assert (run.images_seen, run.seconds) == (10000, 50.0)
    assert run.curves["fidelity/fid"] == ([5000, 10000], [30.0, 20.0])
    assert len(run.curves["loss/discriminator"].values) == 99  # without the value that is not finite
    assert {"images_seen", "epoch", "watchdog"} & run.curves.keys() == set()
    assert run.picture is not None
    assert run.picture.name == "samples_000010000.png"


def test_scores_with_a_spread_replace_those_of_training(runs):
    assert runs[0].scores == {Key("fid", FID): Score(20.0, None, 10000, in_training=True)}
    assert runs[1].scores == {Key("fid", FID): Score(10.0, 1.0, 100, in_training=False)}


def test_a_newer_card_replaces_an_older_one_and_one_draw_does_not_replace_three(tmp_path):
    card(1.0, "2026-01-02T00:00:00+00:00").save(tmp_path / "a.json")
    card(2.0, "2026-01-01T00:00:00+00:00").save(tmp_path / "b.json")
    assert read_scores(tmp_path)[Key("fid", FID)].value == 1.0
    card(3.0, spread={"fid": 0.1}, draws=({"fid": 3.0},)).save(tmp_path / "c.json")
    assert read_scores(tmp_path)[Key("fid", FID)] == Score(3.0, 0.1, 100, in_training=False)
    other = {"scores": {"isc": 2.0, "isc_std": 0.5}, "metrics": ("isc",), "protocol": {"isc": "isc10k"}}
    card(0.0, **other).save(tmp_path / "d.json")
    assert read_scores(tmp_path)[Key("isc", "isc10k")] == Score(2.0, 0.5, 100, in_training=False)
    assert len(read_scores(tmp_path)) == 2


def test_a_card_is_read_as_it_was_saved(tmp_path):
    saved = card(1.5, bands={"fid": Band(1.0, 0.1, 100)}, notes=("a note",), spread={"fid": 0.5})
    saved.save(tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == saved
    newer = {**json.loads(saved.to_json()), "unknown": 1}
    (tmp_path / "card.json").write_text(json.dumps(newer))
    assert read_card(tmp_path / "card.json") == saved


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 5000,
        json.dumps({"scores": {"fid": "low"}}),
        json.dumps(asdict(card(1.0)) | {"bands": {"fid": {}}}),
    ],
)
def test_a_damaged_card_is_one_line(tmp_path, text):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(InputError, match=r"card\.json is not a score card"):
        read_card(tmp_path / "card.json")


def test_runs_are_found_below_the_folders_that_are_named(tmp_path):
    folders = [make_run(tmp_path / "runs" / name) for name in ("a/1", "a/2", "sweeps/b/3")]
    (tmp_path / "runs" / "notes.txt").write_text("")
    assert find_runs([tmp_path / "runs"]) == folders
    assert find_runs([folders[1], tmp_path / "runs" / "a", tmp_path / "runs" / "notes.txt"]) == [folders[1], folders[0]]
    assert [run.name for run in read_runs([tmp_path / "runs"])] == ["a/1", "a/2", "b"]
    same = make_run(tmp_path / "others" / "a" / "1")
    assert [run.name for run in read_runs([folders[0], same])] == [str(folders[0].resolve()), str(same.resolve())]


def test_the_table_states_settings_that_differ_and_protocols(runs):
    grid = tabulate(runs)
    assert grid.columns == ["run", "model", "data", "images seen", "duration", "settings", FID]
    assert [cell.text for cell in grid.rows[0]] == ["small", "DCGAN", "digits", "10,000", "0:00:50", "width 8", "20*"]
    assert [cell.text for cell in grid.rows[1]] == ["large", "DCGAN", "digits", "10,000", "", "width 64", "10 ± 1"]
    assert [row[-1].value for row in grid.rows] == [20.0, 10.0]
    assert "single draw" in grid.notes[0]
    assert tabulate(runs[1:]).notes == ()
    assert "settings" not in tabulate(runs[:1]).columns


def test_settings_of_different_models_are_not_compared(tmp_path):
    runs = read_runs([make_run(tmp_path / "a" / "1"), make_run(tmp_path / "b" / "2", model="VAE")])
    assert differences(runs) == [{}, {}]


@pytest.mark.parametrize("width", [60, 200])
def test_the_text_has_every_run_and_score_at_any_width(runs, width):
    text = text_of(runs, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert text.count("small") == (1 if width == 200 else 2)  # a narrow terminal has a table of scores
    assert "10 ± 1" in text
    assert "@classifier" in text


def test_each_protocol_has_a_panel_of_its_own(runs, tmp_path):
    other = make_run(tmp_path / "other" / "1")
    text = (other / "metrics.csv").read_text().replace("fid1437_train", "fid10k_train")
    (other / "metrics.csv").write_text(text)
    assert panels_of([*runs, *read_runs([other])]) == [
        "fidelity/fid1437_train_classifier",
        "fidelity/fid10k_train_classifier",
        "loss/generator",
        "loss/discriminator",
    ]


def test_the_curves_are_those_of_the_files(runs):
    figure = draw_curves(runs)
    assert figure is not None
    fid = figure.axes[0]
    assert fid.get_title() == "FID  (fid1437_train_classifier)"
    assert [line.get_ydata().tolist() for line in fid.lines] == [[30.0, 20.0], [15.0, 10.0]]
    assert fid.get_xlabel() == "images seen"
    losses = figure.axes[1]
    assert losses.get_yscale() == "log"
    assert losses.lines[0].get_ydata().tolist() == runs[0].curves["loss/generator"].values
    assert len(losses.lines) == 4  # many points: thin, and a running mean
    assert figure.axes[2].get_yscale() == "linear"  # negative values
    assert b"<image" not in to_svg(figure)
    assert b"http://www.w3.org" in to_svg(figure)


def test_running_means_and_short_numbers():
    assert running_mean([1.0, 3.0, 5.0, 7.0], 2) == [1.0, 2.0, 4.0, 6.0]
    assert [short(value) for value in (0, 300, 1500, 2_500_000)] == ["0", "300", "1.5k", "2.5M"]


def test_a_run_that_has_written_little_is_compared_too(tmp_path):
    folder = tmp_path / "new" / "1"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("images_seen,loss/total\n")
    [run] = read_runs([folder])
    assert (run.images_seen, run.seconds, run.scores, run.picture) == (None, None, {}, None)
    assert draw_curves([run]) is None
    assert "<table>" in make_page([run])
    assert "new" in text_of([run])


def test_names_are_escaped(tmp_path):
    [run] = read_runs([make_run(tmp_path / "<script>alert(1)" / "a&b")])
    page = make_page([run])
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "[bold]" in text_of(read_runs([make_run(tmp_path / "[bold]" / "1")]))


def test_the_command_writes_three_files_and_overwrites_nothing(runs, tmp_path, capsys):
    folders, out = [str(run.folder) for run in runs], tmp_path / "out"
    assert main(["compare", *folders]) == 0
    assert "10 ± 1" in capsys.readouterr().out
    assert main(["compare", *folders, "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["comparison.html", "comparison.png", "comparison.txt"]
    assert "10 ± 1" in (out / "comparison.txt").read_text()
    with Image.open(out / "comparison.png") as picture:
        assert picture.width > 1200
        assert picture.height > 1000
    assert main(["compare", *folders, "--out", str(out)]) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "name the runs to compare"),
        (["--out", "x"], "name the runs to compare"),
        (["missing"], "there is no missing"),
        (["."], "no run in ."),
        ([".", "--open"], "--open"),
    ],
)
def test_invalid_input_is_one_line(tmp_path, monkeypatch, capsys, args, message):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *args]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [("config.yaml", "a: ["), ("config.yaml", "[]"), ("metrics.csv", "\0"), ("evaluation/x.json", "1")],
)
def test_a_damaged_file_is_one_line(tmp_path, capsys, name, text):
    folder = make_run(tmp_path / "a" / "1")
    (folder / name).write_text(text)
    code = main(["compare", str(folder)])
    error = capsys.readouterr().err
    assert (code, error.count("\n")) in ((2, 1), (0, 0))
    assert name == "metrics.csv" or Path(name).name in error


def test_the_axis_is_needed(tmp_path):
    (tmp_path / "metrics.csv").write_text("loss\n1\n")
    assert read_curves(tmp_path / "metrics.csv") == {}
    assert read_curves(tmp_path / "none.csv") == {}
