"""The cost of the GAN watchdog: the time of a training batch of DCGAN with and without it.

The watchdog is active in every second block of batches of one run with the Trainer and the CSV logger, so that
neighbouring blocks share the load of the machine. A block is a whole number of measurements. The table gives
milliseconds per batch, and the median ratio over the pairs of blocks. The last column is the share of the time with the
watchdog that is spent in its hook. It varies less than the ratio on a CPU; on a GPU it includes waiting for the step.

    python benchmarks/watchdog.py                            # digits at 32 x 32, width 64, batches of 32 and 128
    python benchmarks/watchdog.py --name mnist --root DIR
"""

import argparse
import statistics
import tempfile
import time

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table

from lightning_gen.callbacks.watchdog import Watchdog
from lightning_gen.data import ImageData
from lightning_gen.loggers import RunCSVLogger
from lightning_gen.models.gans.dcgan import DCGAN


class Interleaved(Watchdog):
    """Is active in every second block, and measures the time of each block."""

    def __init__(self, block):
        super().__init__()
        self.block, self.times, self.block_start, self.hook_time = block, [], 0.0, 0.0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if pl_module.batches_seen % self.block == 0:
            self.end_block()

    def on_train_batch_end(self, trainer, pl_module, *args):
        if pl_module.batches_seen == 1 or (pl_module.batches_seen - 1) // self.block % 2:
            start = time.perf_counter()
            super().on_train_batch_end(trainer, pl_module, *args)
            self.hook_time += time.perf_counter() - start

    def end_block(self):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.times.append((now - self.block_start) / self.block)
        self.block_start = now


def measure(options, batch, folder):
    pl.seed_everything(0, verbose=False)
    block = options.measurements * 20
    watchdog = Interleaved(block)
    trainer = pl.Trainer(
        max_steps=(2 * options.pairs + 2) * block + 1,  # the first pair is a warm-up
        max_epochs=-1,
        logger=RunCSVLogger(folder),
        log_every_n_steps=10,
        callbacks=[watchdog],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        use_distributed_sampler=False,
    )
    data = ImageData(options.name, options.root, image_size=32, batch_size=batch)
    trainer.fit(DCGAN(image_shape=(data.image_shape[0], 32, 32), width=options.width), data)
    times = watchdog.times[1:]  # without the time before training
    hook_share = watchdog.hook_time / (block * sum(times[1::2]))
    return times[2::2], times[3::2], hook_share


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="digits")
    parser.add_argument("--root", default="data")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--measurements", type=int, default=2, help="measurements per block")
    parser.add_argument("--pairs", type=int, default=6, help="pairs of blocks")
    options = parser.parse_args()
    table = Table(title=f"DCGAN, {options.name} at 32 x 32, width {options.width}")
    for column in ("batch", "without, ms", "with, ms", "ratio (target: at most 1.02)", "range", "in the hook"):
        table.add_column(column, justify="right")
    for batch in options.batch:
        with tempfile.TemporaryDirectory() as folder:
            without, watched, hook_share = measure(options, batch, folder)
        ratios = [b / a for a, b in zip(without, watched, strict=True)]
        table.add_row(
            str(batch),
            f"{1e3 * statistics.median(without):.1f}",
            f"{1e3 * statistics.median(watched):.1f}",
            f"{statistics.median(ratios):.4f}",
            f"{min(ratios):.3f}..{max(ratios):.3f}",
            f"{hook_share:.2%}",
        )
    Console().print(table)


if __name__ == "__main__":
    run()
