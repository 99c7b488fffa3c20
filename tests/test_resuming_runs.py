"""A run that is stopped hard, again and again, leaves what a run leaves that was never stopped."""

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from lightning_gen.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from lightning_gen.callbacks.grids import SampleGrid
from lightning_gen.callbacks.translations import TranslationGrid
from lightning_gen.callbacks.watchdog import Watchdog
from lightning_gen.data import ImageData
from lightning_gen.loggers import RunCSVLogger
from lightning_gen.models import DCGAN, EDM, R1GAN, VAE, CycleGAN
from lightning_gen.models.base import GenerativeModule
from tests.cases import UNET
from tests.helpers import on_ranks, trainer

SHAPE = (1, 16, 16)
SMALL = {"width": 4, "latent_dim": 6}
EPOCH, STEPS = 4, 12
"""Batches of an epoch and of the run."""


class CrashError(Exception):
    """Stands for a kill: nothing is saved after it."""


class CrashAt(Checkpoint):
    """Raises an error in a hook, after all callbacks: checkpoints come last, and this one last of them."""

    def __init__(self, point: tuple[str, int] | None) -> None:
        self.point = point

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self.crash("batch", trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self.crash("epoch", trainer.global_step)

    def crash(self, hook: str, step: int) -> None:
        if (hook, step) == self.point:
            raise CrashError


def fit(
    model: GenerativeModule, folder: Path, data: dict[str, Any], interval: dict[str, int], crash: Any, **options: Any
) -> None:
    """Start or resume a run in a folder."""
    last = folder / "checkpoints" / "last.ckpt"
    callbacks = [
        SampleGrid(num=2),
        TranslationGrid(num=2),
        Watchdog(every_n_batches=6, num_samples=4),
        BestCheckpoint("val_loss/total"),
        LastCheckpoint(**interval),
        CrashAt(crash),
    ]
    if last.exists():
        torch.manual_seed(99)  # the random state of a resumed run has no effect
    trainer(
        max_steps=STEPS,
        max_epochs=-1,
        limit_train_batches=EPOCH,
        limit_val_batches=2,
        log_every_n_steps=1,
        logger=RunCSVLogger(folder),
        callbacks=callbacks,
        enable_checkpointing=True,
        default_root_dir=folder,
        **options,
    ).fit(
        model,
        ImageData(root=str(folder.parent / "data"), image_size=16, batch_size=8, flip=True, seed=0, **data),
        ckpt_path=last if last.exists() else None,
        weights_only=True,
    )


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


def same(first: Any, second: Any) -> bool:
    """Whether two nested values are equal, tensors bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    if isinstance(first, Sequence) and not isinstance(first, str):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


FAMILIES = {
    "VAE": (VAE, {**SMALL, "network": "mlp", "hidden": (12,), "lr_schedule": "cosine", "ema_half_life": 50.0}, {}),
    "GAN": (DCGAN, {**SMALL, "n_critic": 3, "lr_schedule": "linear", "ema_half_life": 50.0}, {}),
    "ADA": (R1GAN, {**SMALL, "augment": "ada", "ada_images": 64, "ada_target": -0.9, "penalty_every": 3}, {}),
    "replay": (
        CycleGAN,
        {"width": 4, "blocks": 1, "downsamplings": 1, "discriminator_width": 4, "pool_size": 5, "input_shape": SHAPE},
        {"inputs": "inverted", "paired": False},
    ),
    "diffusion": (EDM, {**UNET, "ema_half_life": 50.0}, {}),
}
CRASHES = {
    "batches": ({"every_n_train_steps": 3}, [("batch", 3), ("batch", 8), ("epoch", 8), ("batch", 11)]),
    "epochs": ({"every_n_epochs": 1}, [("epoch", 4), ("batch", 7), ("epoch", 8)]),
    "last batches": ({"every_n_train_steps": 4}, [("epoch", 4), ("batch", 8)]),  # before the second epoch's end
}


@pytest.mark.parametrize(
    ("family", "interval"),
    [*((family, "batches") for family in FAMILIES), ("VAE", "epochs"), ("GAN", "epochs"), ("VAE", "last batches")],
)
def test_a_run_that_crashes_leaves_what_a_whole_run_leaves(family, interval, tmp_path):
    model_class, options, data = FAMILIES[family]
    whole, crashed = tmp_path / "whole", tmp_path / "crashed"
    checkpoints, points = CRASHES[interval]
    torch.manual_seed(0)
    model = model_class(SHAPE, **options)
    fit(model, whole, data, checkpoints, None)
    for point in [*points, None]:
        torch.manual_seed(0)
        again = model_class(SHAPE, **options)
        if point is None:
            fit(again, crashed, data, checkpoints, None)
            break
        with pytest.raises(CrashError):
            fit(again, crashed, data, checkpoints, point)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    first, second = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (whole, crashed))
    for key in first.keys() - {"callbacks"}:
        assert same(first[key], second[key]), key
    states = [next((v for k, v in run["callbacks"].items() if "Watchdog" in k), None) for run in (first, second)]
    assert same(*states)
    assert rows_of(whole) == rows_of(crashed)
    pictures = sorted(path.name for path in (whole / "samples").iterdir())
    assert len([name for name in pictures if name.endswith(".png")]) == 3
    for name in pictures:
        assert (whole / "samples" / name).read_bytes() == (crashed / "samples" / name).read_bytes()


def train_on_ranks(folder: Path, *, rank: int) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of a whole run and of one that crashed, both on two ranks."""
    model_class, options, data = FAMILIES["replay"]
    states = {}
    for name, points in (("whole", [None]), ("crashed", [("batch", 8), None])):
        for point in points:
            torch.manual_seed(0)
            model = model_class(SHAPE, **options)
            with suppress(CrashError):
                ranks = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False}
                fit(model, folder / name, data, {"every_n_train_steps": 3}, point, **ranks)
        states[name] = model.state_dict()
    return states


def test_two_ranks_that_crash_end_as_a_whole_run_does(tmp_path):
    """The replay pools differ between the ranks, and each gets its own back."""
    first, second = on_ranks(train_on_ranks, tmp_path / "ranks", tmp_path)
    for name, value in first["whole"].items():
        assert torch.equal(value, first["crashed"][name]), name
        assert torch.equal(second["whole"][name], second["crashed"][name]), name
    assert not torch.equal(first["whole"]["image_pool.images"], second["whole"]["image_pool.images"])
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "crashed")
