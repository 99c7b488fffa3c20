"""The header, the bar and the timing of a run."""

import io
import re
from types import SimpleNamespace

import pytest
import rich
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EarlyStopping
from rich.console import Console

from lightning_gen.callbacks import display, progress
from lightning_gen.callbacks.checkpoints import BestCheckpoint
from lightning_gen.callbacks.display import LineDisplay, Progress, TerminalDisplay, render
from lightning_gen.callbacks.header import data_line, header_lines
from lightning_gen.callbacks.progress import ProgressBar, number, remaining
from lightning_gen.callbacks.run_length import describe_limits, position, stop_reason
from lightning_gen.callbacks.timing import Stopwatch, TimedCallback
from lightning_gen.data import ImageData
from lightning_gen.models import DCGAN, VAE
from tests.helpers import StopAt, loader, trainer
from tests.image_files import write_images

SHAPE = (1, 16, 16)


def vae() -> VAE:
    torch.manual_seed(0)
    return VAE(SHAPE, latent_dim=4, network="mlp", hidden=(16,))


class Shown:
    """A display that records what it is told to show."""

    def __init__(self) -> None:
        self.all: list[Progress] = []
        self.closed = False

    def show(self, progress: Progress) -> None:
        self.all.append(progress)

    def close(self) -> None:
        self.closed = True


def fit(monkeypatch, model, *callbacks, seconds: float = 0.0, batches: int = 6, **options) -> tuple[Shown, Trainer]:
    """A fit whose bar is updated after ``seconds``."""
    shown = Shown()
    monkeypatch.setattr(progress, "MIN_SECONDS", seconds)
    monkeypatch.setattr(progress, "make_display", lambda console: shown)
    run = trainer(callbacks=[ProgressBar(), *callbacks], enable_progress_bar=True, log_every_n_steps=1, **options)
    run.fit(model, loader(batches), loader(1))
    return shown, run


def test_one_bar_for_the_whole_run_counts_epochs_from_1(monkeypatch):
    shown, _ = fit(monkeypatch, vae(), max_epochs=2)
    assert [each.position for each in shown.all] == ["epoch 1/2"] * 6 + ["epoch 2/2"] * 6
    assert [each.fraction for each in shown.all] == pytest.approx([i / 12 for i in range(1, 13)])
    assert shown.all[0].left is None  # nothing to go by
    assert all(each.left is not None for each in shown.all[1:])
    assert shown.all[-1].left == 0
    assert shown.closed


def test_the_bar_is_updated_at_most_five_times_a_second(monkeypatch):
    shown, _ = fit(monkeypatch, vae(), seconds=1e9, max_epochs=2)
    assert len(shown.all) == 1


def test_the_losses_of_a_vae_and_its_speed(monkeypatch):
    shown, run = fit(monkeypatch, vae(), max_epochs=2)
    names = [re.sub(r"-?\d[\d.,]*", "#", figure) for figure in shown.all[-1].figures]
    assert names == ["loss #", "validation loss #", "# images/s"]
    assert shown.all[-1].figures[0] == f"loss {number(run.callback_metrics['loss/total'])}"


def test_the_losses_of_both_players_and_the_score(monkeypatch, tmp_path):
    model = DCGAN(SHAPE, latent_dim=4, width=4)
    best = BestCheckpoint("loss/real_logit")
    best.dirpath = str(tmp_path)
    shown, _ = fit(monkeypatch, model, best, max_epochs=2, enable_checkpointing=True, batches=2)
    names = [re.sub(r"-?\d[\d.,]*", "#", figure) for figure in shown.all[-1].figures]
    assert names[:3] == ["generator #", "discriminator #", "real_logit # (best #)"]


def test_steps_and_time_are_limits_too(monkeypatch):
    shown, _ = fit(monkeypatch, vae(), max_steps=8, max_epochs=-1)
    assert [each.position for each in shown.all][5:7] == ["epoch 1, step 6/8", "epoch 2, step 7/8"]
    assert shown.all[-1].fraction == 1
    shown, _ = fit(monkeypatch, vae(), StopAt(2), max_epochs=-1, max_time="00:01:00:00", min_epochs=0)
    assert shown.all[-1].position == "epoch 1"
    assert 0 < shown.all[-1].fraction < 0.01
    assert 3000 < shown.all[-1].left <= 3600
    shown, _ = fit(monkeypatch, vae(), StopAt(2), max_epochs=-1, min_epochs=0)
    assert (shown.all[-1].fraction, shown.all[-1].left) == (None, None)


@pytest.mark.parametrize(
    ("first", "fraction", "limit", "expected"),
    [(0.0, 0.25, None, 30), (0.5, 0.75, None, 10), (0.0, 0.25, 12.0, 12), (0.2, 0.2, None, None), (None, None, 5.0, 5)],
)
def test_the_time_left_is_that_of_the_part_that_remains(first, fraction, limit, expected):
    assert remaining(10.0, first, fraction, limit) == (None if expected is None else pytest.approx(expected))


def test_a_long_validation_is_named_and_a_short_one_is_not(monkeypatch):
    for seconds, expected in ((1e9, set()), (0.0, {"validation 1/1"})):
        monkeypatch.setattr(progress, "LONG_SECONDS", seconds)
        shown, _ = fit(monkeypatch, vae(), max_epochs=1)
        assert {each.activity for each in shown.all if each.activity} == expected


def test_a_long_pause_between_epochs_is_named_when_it_is_expected(monkeypatch):
    monkeypatch.setattr(progress, "LONG_SECONDS", 0.0)
    shown, _ = fit(monkeypatch, vae(), max_epochs=3, limit_val_batches=0)
    named = [i for i, each in enumerate(shown.all) if each.activity.startswith("scores and pictures, about")]
    assert len(named) == 2  # after the second and the third epoch
    assert shown.all[named[0]].position == "epoch 2/3"


def test_validation_and_test_of_a_checkpoint_have_a_bar(monkeypatch):
    shown = Shown()
    monkeypatch.setattr(progress, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(progress, "make_display", lambda console: shown)
    run = trainer(callbacks=[ProgressBar()], enable_progress_bar=True)
    run.validate(vae(), loader(2), verbose=False)
    run.test(vae(), loader(4), verbose=False)
    assert [each.position for each in shown.all] == [
        *(f"validation {i}/2" for i in (1, 2)),
        *(f"test {i}/4" for i in (1, 2, 3, 4)),
    ]
    assert shown.all[-1].fraction == 1


def test_a_terminal_is_drawn_in_place_and_left_clean():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, _environ={"TERM": "xterm"})
    shown = TerminalDisplay(console)
    for fraction in (0.25, 0.5):
        shown.show(Progress("epoch 1/4", fraction, 10, 30, ("loss 0.5", "20 images/s")))
        console.print("a line above")
    shown.close()
    assert out.getvalue().count("epoch 1/4") >= 2
    assert out.getvalue().count("\x1b[2K") >= 4  # lines that are erased
    assert "\x1b[?25h" in out.getvalue()  # the cursor is visible again


@pytest.mark.parametrize("width", [40, 80, 200])
def test_two_lines_fit_any_terminal(width):
    console = Console(file=io.StringIO(), force_terminal=False, width=width)
    console.print(render(Progress("epoch 1/4", 0.25, 10, 30, ("a long loss 0.5",) * 10, "validation 1/5")))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("epoch 1/4")
    assert lines[0].rstrip().endswith("25%  0:00:10  0:00:30 left")
    assert "validation 1/5" in lines[1]


def test_a_file_gets_a_plain_line_from_time_to_time(monkeypatch):
    out, now = io.StringIO(), [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    shown = LineDisplay(Console(file=out, width=40))
    for now[0] in (1.0, 5.0, 6.0, 34.0, 36.0):
        shown.show(Progress("epoch 1/4", 0.25, now[0], 30, ("loss 0.5",)))
    assert out.getvalue().splitlines() == [
        "epoch 1/4  25%  0:00:05  0:00:30 left  loss 0.5",
        "epoch 1/4  25%  0:00:36  0:00:30 left  loss 0.5",
    ]


def test_a_disabled_bar_and_another_rank_show_nothing(monkeypatch):
    opened = []
    monkeypatch.setattr(progress, "make_display", lambda console: opened.append(console) or LineDisplay(console))
    bar, of_other_rank = ProgressBar(), ProgressBar()
    bar.disable()
    trainer(callbacks=[bar], enable_progress_bar=True).fit(vae(), loader(2))
    of_other_rank.setup(SimpleNamespace(is_global_zero=False), vae(), "fit")
    of_other_rank._show_evaluation("test", 0, 1)
    assert not opened
    bar.enable()
    bar._show_evaluation("test", 0, 1)
    assert len(opened) == 1


def test_lines_are_printed_above_the_bar(monkeypatch, capsys):
    monkeypatch.setattr(rich, "_console", None)
    ProgressBar().print("watchdog: [bold] is no markup " + "x" * 200)
    assert capsys.readouterr().out == "watchdog: [bold] is no markup " + "x" * 200 + "\n"


def test_the_stopwatch_counts_pauses_apart():
    now = [0.0]
    watch = Stopwatch(lambda: now[0])
    assert (watch.total(), watch.active()) == (0, 0)
    now[0] = 5
    watch.start()
    now[0] = 8
    watch.pause()
    now[0] = 9
    watch.pause()  # goes on
    assert (watch.total(), watch.active(), watch.pause_length()) == (4, 3, 1)
    now[0] = 12
    assert watch.resume() == 4
    now[0] = 14
    assert (watch.total(), watch.active(), watch.resume()) == (9, 5, 0)
    watch.stop()
    now[0] = 99
    watch.stop()
    assert (watch.total(), watch.active()) == (9, 5)


@pytest.mark.parametrize(("options", "validations"), [({}, 2), ({"val_check_interval": 3}, 4)])
def test_pauses_are_those_between_batches(options, validations):
    """Time passes by one second in validation and at an epoch's end, and not in batches."""
    now = [0.0]

    class Slow(TimedCallback):
        def __init__(self) -> None:
            super().__init__()
            self.stopwatch = Stopwatch(lambda: now[0])

        def on_train_batch_end(self, trainer, *args):
            now[0] += 0.25
            self.pause_after_last_batch(trainer)

        def on_validation_batch_end(self, *args):
            now[0] += 1

        def on_train_epoch_end(self, *args):
            super().on_train_epoch_end(*args)
            now[0] += 1

    slow = Slow()
    trainer(callbacks=[slow], max_epochs=2, **options).fit(vae(), loader(6), loader(1))
    assert slow.stopwatch.total() == 12 * 0.25 + validations + 2
    assert slow.stopwatch.active() == 12 * 0.25


def test_the_header_says_what_is_trained(tmp_path):
    run = trainer(max_epochs=3, default_root_dir=tmp_path, limit_train_batches=2, limit_val_batches=0)
    run.fit(DCGAN(SHAPE, latent_dim=4, width=4), ImageData(batch_size=32, root=str(tmp_path / "data")))
    model = run.lightning_module
    counts = [sum(p.numel() for p in player.parameters()) for player in (model.network, model.discriminator)]
    lines = header_lines(run, model)
    assert lines["Model"] == f"DCGAN: generator {counts[0]:,}, discriminator {counts[1]:,} parameters"
    assert lines["Data"] == "digits/train: 1,437 images, 16 x 16, grey, 10 classes"
    assert lines["Training"] == "cpu, precision 32-true, batch 32, 3 epochs of 2 batches"
    assert lines["Run"] == str(tmp_path)
    assert lines["Resumed"] == "in epoch 4, after 192 images"


@pytest.mark.parametrize(
    ("options", "expected", "reason"),
    [
        ({"max_epochs": 2}, "2 epochs of 6 batches", "at trainer.max_epochs 2"),
        ({"max_epochs": 2, "max_steps": 3}, "2 epochs of 6 batches, at most 3 steps", "at trainer.max_steps 3"),
        ({"max_epochs": -1, "max_steps": 3}, "3 steps", "at trainer.max_steps 3"),
        ({"max_epochs": -1, "stop": StopAt(2)}, "no limit", "by a callback"),
        (
            {"max_epochs": 9, "stop": EarlyStopping("loss/total", patience=0, mode="max")},
            "9 epochs of 6 batches",
            "because loss/total did not improve for 0 validations",
        ),
        ({"max_epochs": 9, "max_time": {"seconds": 0}}, "9 epochs of 6 batches, at most 0:00:00 of time", "max_time"),
    ],
)
def test_limits_and_the_end_in_words(options, expected, reason):
    stop = options.pop("stop", None)
    run = trainer(callbacks=[stop] if stop else [], log_every_n_steps=1, **options)
    run.fit(vae(), loader(6), loader(1))
    assert describe_limits(run) == expected
    assert reason in stop_reason(run)
    assert position(run, 0)[0].startswith("epoch")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"name": "digits", "inputs": "inverted"},
            "digits/train: 1,437 images, 16 x 16, grey, 10 classes, paired inputs",
        ),
        ({"name": "folder", "image_size": 32}, "{}: {:,} images, 32 x 32, colour"),
        (
            {"name": "folder", "image_size": 32, "tile": 48, "inputs": "bicubic", "scale": 2},
            "{}: {:,} images, 32 x 32, colour, paired inputs",
        ),
    ],
)
def test_the_header_of_any_data(tmp_path, options, expected):
    if options["name"] == "folder":
        write_images(tmp_path / "photos", [f"{i}.png" for i in range(8)], shape=(70, 90, 3))
    data = ImageData(root=str(tmp_path / "photos"), **options)
    images = data.image_set("train")
    assert data_line(SimpleNamespace(datamodule=data)) == expected.format(images.name, len(images))


def test_data_without_image_sets_have_no_line():
    assert data_line(SimpleNamespace(datamodule=None)) == ""
