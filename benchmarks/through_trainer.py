"""Training steps through the Trainer and in a bare loop, timed; imported by other benchmarks.

python benchmarks/through_trainer.py --help    # this page
"""

import argparse
import tempfile
import time

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader, IterableDataset

WARM_UP = 3


class Batches(IterableDataset):
    """The same few batches, again and again."""

    def __init__(self, batches, num):
        self.batches, self.num = batches, num

    def __len__(self):
        return self.num

    def __iter__(self):
        return (self.batches[i % len(self.batches)] for i in range(self.num))


class Timer(pl.Callback):
    """Measures seconds from the first batch after the warm-up to the end of training."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == WARM_UP:
            self.start = now(module.device)

    def on_train_end(self, trainer, module):
        self.seconds = now(module.device) - self.start


def now(device):
    if device.type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter()


def through_the_trainer(model, batches, steps):
    """Seconds of ``steps`` steps through the Trainer, which logs to a CSV file alone."""
    timer = Timer()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_steps=steps + WARM_UP,
            devices=1,
            logger=CSVLogger(folder),
            callbacks=[timer],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, DataLoader(Batches(batches, steps + WARM_UP), batch_size=None))
    return timer.seconds


def bare(step, batches, steps, device):
    """Seconds of ``steps`` calls of ``step``."""
    for i in range(steps + WARM_UP):
        if i == WARM_UP:
            start = now(device)
        step(batches[i % len(batches)])
    return now(device) - start


def descend(loss, optimizer):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
