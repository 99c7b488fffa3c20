"""Signals and time limits end a run after a batch, with a checkpoint from which it goes on exactly."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lightning_gen.callbacks.checkpoints import LastCheckpoint
from lightning_gen.callbacks.interruption import Interruption
from lightning_gen.cli import main
from lightning_gen.cli.stopping import requeue_slurm_job
from lightning_gen.models import DCGAN
from tests.helpers import loader, trainer

ROOT = Path(__file__).parent.parent
QUIET = [
    f"--config={ROOT / 'configs' / 'dcgan_digits.yaml'}",
    "--model.width=4",
    "--data.batch_size=128",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.log_every_n_steps=1",
    "--fidelity.num_samples=50",
    *(f"--{name}.every_n_epochs=100000" for name in ("fidelity", "samples", "interpolation", "last")),
]


def places(folder: Path) -> list[str]:
    return [f"--runs={folder / 'runs'}", f"--data.root={folder / 'data'}"]


def run_of(folder: Path) -> Path:
    [run] = (folder / "runs" / "dcgan_digits").iterdir()
    return run


def images_of(folder: Path) -> list[int]:
    """The numbers of images of the rows of losses."""
    files = list(folder.glob("runs/dcgan_digits/*/metrics.csv"))
    rows = [row.split(",") for row in files[0].read_text().splitlines()[1:]] if files else []
    return [int(row[0]) for row in rows if row[3]]


def stop_by_sigterm(folder: Path, rows: int, *options: str) -> tuple[int, str, str]:
    """The exit code, the output and the errors of a run that gets a signal after some rows of losses."""
    command = [sys.executable, "train.py", "fit", *QUIET, *places(folder), "--trainer.max_epochs=100000", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while len(images_of(folder)) < rows:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    output, errors = process.communicate(timeout=200)
    return process.returncode, output, errors


def test_two_processes_stop_after_the_same_batch(tmp_path):
    code, _, errors = stop_by_sigterm(tmp_path, 12, "--trainer.devices=2", "--interruption.every_n_batches=3")
    assert code == 128 + signal.SIGTERM
    assert errors.splitlines()[-1].startswith("stopped by SIGTERM after ")
    last = torch.load(run_of(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)
    assert images_of(tmp_path)[-1] == last["progress"]["images_seen"]


def test_after_sigterm_the_printed_command_continues_bit_for_bit(tmp_path):
    code, output, errors = stop_by_sigterm(tmp_path, 20)
    assert code == 128 + signal.SIGTERM
    [line] = errors.splitlines()
    assert "Stopped  by the signal SIGTERM, after " in output
    assert "Last     checkpoints/last.ckpt" in output
    run = run_of(tmp_path)
    assert line.startswith("stopped by SIGTERM after ")
    assert line.endswith(f"; to go on: lightning-gen fit --config {run}/config.yaml --ckpt_path {run}")
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert images_of(tmp_path)[-1] == last["progress"]["images_seen"]

    end = f"--trainer.max_epochs={last['epoch'] + 2}"
    assert main([*line.partition("lightning-gen ")[2].split(), end]) == 0
    straight = tmp_path / "straight"
    assert main(["fit", *QUIET, *places(straight), end]) == 0
    ours, theirs = (
        torch.load(run_of(folder) / "checkpoints" / "last.ckpt", weights_only=True) for folder in (tmp_path, straight)
    )
    assert ours["progress"] == theirs["progress"]
    torch.testing.assert_close(ours["state_dict"], theirs["state_dict"], rtol=0, atol=0)
    assert images_of(tmp_path) == images_of(straight)


class SendSignal(Callback):
    """Sends a signal to its own process during a batch."""

    def __init__(self, number: int, batch: int) -> None:
        self.number, self.batch = number, batch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if pl_module.batches_seen == self.batch:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("batch", [1, 3])  # within an epoch of four batches, and the last one of it
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_each_signal_ends_training_after_its_batch(number, batch, tmp_path):
    before = signal.getsignal(number)
    interruption = Interruption()
    callbacks = [SendSignal(number, batch), interruption, LastCheckpoint(every_n_epochs=10)]
    runner = trainer(callbacks=callbacks, max_epochs=2, default_root_dir=tmp_path, enable_checkpointing=True)
    model = DCGAN((1, 16, 16), width=4)
    with pytest.raises(SIGTERMException):
        runner.fit(model, loader(4))
    assert interruption.signal == number
    assert model.batches_seen == batch + 1
    [path] = tmp_path.rglob("last.ckpt")
    assert torch.load(path, weights_only=True)["progress"]["batches_seen"] == batch + 1
    assert signal.getsignal(number) == before


def test_a_second_interrupt_stops_at_once_but_not_the_copy_that_a_launcher_passes_on(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    interruption = Interruption()
    interruption._handle(signal.SIGINT, None)
    interruption._handle(signal.SIGINT, None)
    interruption._handle(signal.SIGTERM, None)
    now = 102.0
    interruption._handle(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt):
        interruption._handle(signal.SIGINT, None)


def test_an_interrupt_before_training_exits_with_130(tmp_path, monkeypatch):
    def interrupt(self, trainer, pl_module):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Interruption, "on_train_start", interrupt)
    with pytest.raises(SystemExit) as stopped:
        main(["fit", *QUIET, *places(tmp_path), "--trainer.max_epochs=1"])
    signal.signal(signal.SIGINT, before)
    assert stopped.value.code == 130


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({"SLURM_JOB_ID": "42"}, "42"),
        ({"SLURM_JOB_ID": "43", "SLURM_ARRAY_JOB_ID": "42", "SLURM_ARRAY_TASK_ID": "7"}, "42_7"),
    ],
)
def test_slurms_signal_puts_the_job_back_into_the_queue(variables, job, tmp_path, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    requeue_slurm_job(signal.SIGTERM)
    assert not (tmp_path / "requeued").exists()
    requeue_slurm_job(signal.SIGUSR1)
    assert (tmp_path / "requeued").read_text() == f"requeue {job}\n"
    scontrol.unlink()
    requeue_slurm_job(signal.SIGUSR1)
    assert f"the SLURM job {job} could not be put back" in capsys.readouterr().err


def test_a_time_limit_ends_the_run_with_a_checkpoint_and_the_command_that_goes_on(tmp_path, capsys):
    assert (
        main(["fit", *QUIET, *places(tmp_path), "--trainer.max_epochs=100000", "--trainer.max_time=00:00:00:02"]) == 0
    )
    run = run_of(tmp_path)
    assert f"--ckpt_path {run}" in capsys.readouterr().err
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["progress"]["images_seen"] == images_of(tmp_path)[-1]
