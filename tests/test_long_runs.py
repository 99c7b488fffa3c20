"""A run does not grow: objects, open files and memory stay as they are from one epoch to the next."""

import gc
import os
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl

from lightning_gen.cli import main, training

SKIPPED_EPOCHS = 4
EPOCHS = 12


class Growth(pl.Callback):
    """Counts objects, open files and bytes of memory at the end of each epoch."""

    def __init__(self) -> None:
        self.objects: list[int] = []
        self.files: list[int] = []
        self.mebibytes: list[float] = []

    def on_train_epoch_start(self, *args) -> None:
        gc.collect()
        self.objects.append(len(gc.get_objects()))
        self.files.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.mebibytes.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_does_not_grow(tmp_path, monkeypatch):
    """Twelve epochs of 44 batches, with validation, pictures, checkpoints and lines of metrics in each."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    growth, instantiate = Growth(), training.TrainingCLI.instantiate_trainer

    def with_growth(self, **kwargs):
        trainer = instantiate(self, **kwargs)
        trainer.callbacks.append(growth)
        return trainer

    monkeypatch.setattr(training.TrainingCLI, "instantiate_trainer", with_growth)
    args = ["--model=VAE", "--model.network=mlp", "--model.hidden=[8]", "--model.latent_dim=2", "--data.image_size=8"]
    args += ["--data.batch_size=32", f"--trainer.max_epochs={EPOCHS}", "--trainer.enable_progress_bar=false"]
    assert main(["fit", *args, "--fidelity.features=null", f"--runs={tmp_path}"]) == 0
    objects, files, mebibytes = (values[SKIPPED_EPOCHS:] for values in (growth.objects, growth.files, growth.mebibytes))
    assert len(objects) == EPOCHS - SKIPPED_EPOCHS
    assert max(files) <= files[0]
    assert objects[-1] - objects[0] < 20 * len(objects)  # fewer than one object per batch
    assert mebibytes[-1] - mebibytes[0] < 16
