"""What makes steps fast: the fused Adam and the skipped hooks, which leave results as they are."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback
from torch.optim import Adam

from lightning_gen.callbacks.progress import ProgressBar
from lightning_gen.cli.devices import declare_missing_gpus
from lightning_gen.lightning_compat import skip_unused_hooks
from lightning_gen.models import VAE, WGANGP
from tests.helpers import loader, trainer

ROOT = Path(__file__).parent.parent


def vae() -> VAE:
    torch.manual_seed(0)
    return VAE((1, 16, 16), latent_dim=4, network="mlp", hidden=(16,))


def test_adam_is_fused_and_takes_the_steps_of_an_adam_that_is_not():
    models = vae(), vae()
    fused, plain = models[0].configure_optimizers()[0], Adam(models[1].parameters(), models[1].lr)
    assert fused.defaults["fused"]
    for step in range(5):
        for model, optimizer in zip(models, (fused, plain), strict=True):
            for parameter in model.parameters():
                generator = torch.Generator().manual_seed(step)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_adam_is_not_fused_where_gradients_are_scaled():
    model = WGANGP((1, 16, 16), clip=1.0)
    run = trainer(max_steps=2)
    run.strategy.precision_plugin.scaler = torch.amp.GradScaler("cpu")
    model.trainer = run
    assert [optimizer.defaults["fused"] for optimizer in model.configure_optimizers()] == [False, False]


def test_resumed_moments_of_an_adam_that_is_not_fused_are_read():
    models = vae(), vae()
    plain, fused = Adam(models[0].parameters(), 1e-3), models[1].configure_optimizers()[0]
    for model in models:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
    plain.step()
    fused.load_state_dict(plain.state_dict())
    fused.step()
    assert {float(state["step"]) for state in fused.state.values()} == {2.0}


class Recorder(Callback):
    """Records the hooks that the trainer calls."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def on_train_batch_end(self, *args) -> None:
        self.called.append("train_batch_end")

    def on_train_epoch_end(self, *args) -> None:
        self.called.append("train_epoch_end")


def test_hooks_that_a_callback_defines_are_called_and_others_are_skipped():
    recorder = Recorder()
    run = trainer(callbacks=[recorder, ProgressBar()], enable_progress_bar=True)
    skip_unused_hooks(run.callbacks)
    assert recorder.on_train_batch_start is None
    assert run.progress_bar_callback.on_validation_batch_end is not None
    run.fit(vae(), loader(2), loader(1))
    assert recorder.called == ["train_batch_end", "train_batch_end", "train_epoch_end"]


@pytest.mark.parametrize("start", ["import lightning_gen.__main__", "import runpy; runpy.run_path('train.py')"])
@pytest.mark.parametrize(
    ("given", "expected"), [({}, "10000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None), ({"GOMP_SPINCOUNT": "7"}, "7")]
)
def test_threads_spin_briefly_unless_the_user_chooses(start, given, expected):
    """The variables are set before torch is loaded."""
    script = f"import os, sys; {start}; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), **given}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    assert done.stdout.split() == [str(expected), "False"]


def test_a_machine_without_gpus_counts_them_once(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    declare_missing_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"  # the user's value stays
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    declare_missing_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    opened = []
    monkeypatch.setattr(ctypes, "CDLL", opened.append)
    parameter = torch.nn.Parameter(torch.ones(1))
    parameter.grad = torch.ones(1)
    Adam([parameter]).step()
    assert not opened
