"""The command ``sweep``: trials that are runs of ``fit``, one of which is refused; and the sweep that goes on."""

import csv
import os
import signal
import threading
import time

import pytest
import yaml

from lightning_gen.cli import main
from tests.test_cli import CONFIGS

VAE = str(CONFIGS / "vae_digits.yaml")
QUICK = [
    *("--trainer.max_epochs=2", "--trainer.limit_train_batches=1", "--trainer.check_val_every_n_epoch=1"),
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--fidelity.features=null"),
    *("--loggers", "csv", "--data.root=data"),
]
"""A run without scores, whose trials are compared by the loss on the validation split."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(place, command, **changes):
    sweep = {
        "method": "grid",
        "metric": {"name": "val_loss/total"},
        "parameters": {"model.width": {"values": [4, 0]}},
        "command": command,
    }
    (place / "small.yaml").write_text(yaml.safe_dump(sweep | changes))


def test_a_sweep_of_one_good_and_one_refused_trial_goes_on(place, capsys):
    write(place, ["lightning-gen", "fit", "--config", VAE, *QUICK, "${args}"])
    assert main(["sweep", "--config", "small.yaml", "--trials", "1"]) == 0
    folder = place / "runs" / "sweeps" / "small"
    assert "trial 0: --model.width=4" in capsys.readouterr().out
    [run] = [path for path in (folder / "0000").iterdir() if path.is_dir()]
    assert (run / "checkpoints" / "last.ckpt").is_file()
    before = {path: path.stat().st_mtime for path in run.rglob("*")}

    assert main(["sweep", "--config", "small.yaml", "--trials=9"]) == 0
    printed = capsys.readouterr().out
    assert "failed after" in printed
    assert "model.width is 0" in printed
    assert f"Train    lightning-gen fit --config {VAE}" in printed
    with (folder / "trials.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["trial"], first["state"], first["images_seen"]) == ("0", "complete", first["images_seen"])
    assert float(first["val_loss/total"]) > 0
    assert (second["trial"], second["state"]) == ("1", "failed")
    assert (folder / "sweep.png").stat().st_size > 5000
    assert {path: path.stat().st_mtime for path in run.rglob("*")} == before

    (folder / "trials.csv").unlink()
    assert main(["sweep", "--config", "small.yaml"]) == 0  # nothing is left to try
    assert (folder / "trials.csv").is_file()


def test_invalid_input_is_one_line(place, capsys, monkeypatch):
    write(place, ["fit", "${args}"])
    for args, message in [
        ([], "arguments are required: config"),
        (["--config=none.yaml"], "there is no sweep file none.yaml; the package's are autoencoder_digits, "),
        (["--config=dcgan_digit"], "there is no sweep file dcgan_digit (did you mean dcgan_digits?)"),
        (["--config=."], "--config . cannot be read"),
        (["--config=small.yaml", "--trials=0"], "--trials is 0"),
        (["--config=small.yaml", "--name=../x"], "--name is '../x'"),
    ]:
        assert main(["sweep", *args]) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        assert message in error
    monkeypatch.setattr("lightning_gen.cli.sweeping.find_spec", lambda name: None)
    assert main(["sweep", "--config=small.yaml"]) == 2
    assert capsys.readouterr().err == "error: sweep needs the package optuna; pip install 'lightning_gen[sweep]'\n"


def test_a_sweep_whose_trials_are_all_refused_ends(place, capsys, monkeypatch):
    refuse = 'import sys; print("error: there is no option --model.wdth"); sys.exit(2)'
    monkeypatch.setattr("lightning_gen.cli.sweeping.FIT", ("python", "-c", refuse))
    write(place, ["fit", "${args}"], parameters={"model.wdth": {"values": [1, 2, 3, 4, 5]}})
    assert main(["sweep", "--config=small.yaml"]) == 2
    assert "the first 3 trials were refused: there is no option --model.wdth" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_trial_and_the_sweep(place, monkeypatch, capsys, number):
    wait = "import time; print('started', flush=True); time.sleep(100)"
    monkeypatch.setattr("lightning_gen.cli.sweeping.FIT", ("python", "-c", wait))
    write(place, ["fit", "${args}"])

    def end():
        while not list(place.rglob("output.txt")):
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(os.getpid(), number)

    threading.Thread(target=end).start()
    began = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "--config=small.yaml"])
    assert ended.value.code == 128 + number
    assert "stopped; the same command goes on" in capsys.readouterr().out
    assert time.monotonic() - began < 60
