"""Helpers shared by several test files."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, IterableDataset

from lightning_gen.types import Batch


class Batches(IterableDataset):
    """A fixed sequence of batches of random images, the same on every rank unless asked.

    With a scale, their inputs are the inverted images, that many times smaller.
    """

    def __init__(
        self,
        num: int = 4,
        size: int = 8,
        shape: tuple[int, int, int] = (1, 16, 16),
        first: int = 0,
        scale: int | None = None,
    ) -> None:
        self.num, self.size, self.shape, self.first, self.scale = num, size, shape, first, scale

    def __len__(self) -> int:
        return self.num

    def __iter__(self) -> Iterator[Batch]:
        for i in range(self.first, self.first + self.num):
            generator = torch.Generator().manual_seed(i)
            images = torch.rand(self.size, *self.shape, generator=generator) * 2 - 1
            labels = torch.randint(0, 10, (self.size,), generator=generator)
            yield Batch(images, labels, inputs=self.scale and -torch.nn.functional.avg_pool2d(images, self.scale))


class ResumableLoader(DataLoader):
    """Goes on at the saved batch when its state is loaded."""

    def __init__(self, batches: Batches) -> None:
        super().__init__(batches, batch_size=None)
        self.next = self.start = 0

    def __iter__(self) -> Iterator[Batch]:
        start, self.start = self.start, 0
        for self.next, batch in enumerate(super().__iter__(), 1):
            if self.next > start:
                yield batch

    def state_dict(self) -> dict[str, int]:
        return {"batch": self.next}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.start = state["batch"]


def loader(*args: Any, **kwargs: Any) -> ResumableLoader:
    return ResumableLoader(Batches(*args, **kwargs))


class SaveEpochs(pl.Callback):
    """Saves ``end<step>.ckpt`` at the end of every epoch, as ``LastCheckpoint`` does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / f"end{trainer.global_step}.ckpt")


class StopAt(pl.Callback):
    """Asks the trainer to stop after a number of batches, as a signal does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        trainer.should_stop |= trainer.global_step == self.step


def trainer(**options: Any) -> pl.Trainer:
    defaults = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": 1,
        "num_sanity_val_steps": 0,
    }
    return pl.Trainer(**{**defaults, **options})


def _process(rank: int, function: Any, world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    # what torchrun sets, so that a Trainer with strategy="ddp" joins these processes and starts none
    os.environ.update(
        TORCHELASTIC_RUN_ID="test",
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_WORLD_SIZE=str(world_size),
        GROUP_RANK="0",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT="0",
    )
    store = torch.distributed.FileStore(f"{folder}/store", world_size)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    try:
        torch.save(function(rank), f"{folder}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


def on_ranks(function: Any, folder: Path, *args: Any, world_size: int = 2) -> list[Any]:
    """Run ``function(rank, *args)`` in processes of one gloo group and return what each returned."""
    folder.mkdir(parents=True, exist_ok=True)
    mp.start_processes(
        _process, (partial(_call, function, args), world_size, str(folder)), nprocs=world_size, start_method="spawn"
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(world_size)]


def _call(function: Any, args: tuple[Any, ...], rank: int) -> Any:
    return function(*args, rank=rank)
