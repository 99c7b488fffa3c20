"""Memory, open files and time per step of a long run of tiny batches, in windows of equal length.

A small VAE is trained on digits through ``fit``, with the default loggers (W&B offline) and callbacks; pictures and
checkpoints are made in every 20th epoch. Nothing may grow: the table gives, for each window, the median time of a step,
the resident memory (Linux), the number of open files and the number of objects that Python's collector tracks.

    python benchmarks/long_run.py --steps 50000
"""

import argparse
import gc
import os
import statistics
import tempfile
import time
from pathlib import Path

import pytorch_lightning as pl
from rich.console import Console
from rich.table import Table

from lightning_gen.cli import main, training

EVERY = 20


class Windows(pl.Callback):
    """Measures after each window of steps."""

    def __init__(self, length: int) -> None:
        self.length, self.rows = length, []
        self.times: list[float] = []
        self.last = 0.0

    def on_train_batch_start(self, *args) -> None:
        self.last = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, *args) -> None:
        self.times.append(time.perf_counter() - self.last)
        if len(self.times) == self.length:
            gc.collect()
            status = Path("/proc/self/status").read_text().splitlines()
            memory = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))
            files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            self.rows.append((trainer.global_step, statistics.median(self.times), memory, files, len(gc.get_objects())))
            self.times.clear()


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--windows", type=int, default=10)
    options = parser.parse_args()
    os.environ.setdefault("WANDB_MODE", "offline")
    windows = Windows(options.steps // options.windows)
    instantiate = training.TrainingCLI.instantiate_trainer

    def with_windows(self, **kwargs):
        trainer = instantiate(self, **kwargs)
        trainer.callbacks.append(windows)
        return trainer

    training.TrainingCLI.instantiate_trainer = with_windows
    with tempfile.TemporaryDirectory() as folder:
        intervals = ("samples", "reconstructions", "interpolation", "last")
        code = main(
            [
                "fit",
                "--model=VAE",
                "--model.network=mlp",
                "--model.hidden=[64]",
                "--model.latent_dim=8",
                "--data.image_size=8",
                "--data.batch_size=16",
                f"--trainer.max_steps={options.steps}",
                "--trainer.max_epochs=-1",
                f"--trainer.check_val_every_n_epoch={EVERY}",
                "--fidelity.features=null",
                *(f"--{name}.every_n_epochs={EVERY}" for name in intervals),
                f"--runs={folder}",
            ]
        )
    assert code == 0
    table = Table("step", "ms per step", "memory, MiB", "open files", "objects", title=f"{options.steps:,} steps")
    for step, seconds, memory, files, objects in windows.rows:
        table.add_row(f"{step:,}", f"{1e3 * seconds:.2f}", f"{memory:.0f}", str(files), f"{objects:,}")
    Console().print(table)
    first, last = windows.rows[1], windows.rows[-1]
    growth = f"from the second window to the last: {last[2] - first[2]:+.1f} MiB, {last[3] - first[3]:+d} files"
    print(f"{growth}, {last[4] - first[4]:+,d} objects, time per step x {last[1] / first[1]:.2f}")


if __name__ == "__main__":
    run()
