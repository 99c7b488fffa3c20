"""What the GAN watchdog costs: the time of a training batch of DCGAN with it, over that without it.

One training goes on through the Trainer, with the CSV logger, and the watchdog is on in every other block of
batches: neighbouring blocks share whatever else the machine does. A block is a whole number of looks. The table gives
milliseconds a batch; the ratio is the median over the pairs of blocks. The last column is the share of the time with
the watchdog that is spent in its hook: on a CPU the steadier figure, on a GPU it includes waiting for the step.

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
    """Is on in every second block, and times the blocks."""

    def __init__(self, block):
        super().__init__()
        self.block, self.times, self.start, self.inside = block, [], 0.0, 0.0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if pl_module.batches_seen % self.block == 0:
            self.mark()

    def on_train_batch_end(self, trainer, pl_module, *args):
        if pl_module.batches_seen == 1 or (pl_module.batches_seen - 1) // self.block % 2:
            start = time.perf_counter()
            super().on_train_batch_end(trainer, pl_module, *args)
            self.inside += time.perf_counter() - start

    def mark(self):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.times.append((now - self.start) / self.block)
        self.start = now


def measure(options, batch, folder):
    pl.seed_everything(0, verbose=False)
    block = options.looks * 20
    watchdog = Interleaved(block)
    trainer = pl.Trainer(
        max_steps=(2 * options.pairs + 2) * block + 1,  # the first pair warms up
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
    times = watchdog.times[1:]  # the first is the time before training
    inside = watchdog.inside / (block * sum(times[1::2]))
    return times[2::2], times[3::2], inside


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="digits")
    parser.add_argument("--root", default="data")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--looks", type=int, default=2, help="looks in a block")
    parser.add_argument("--pairs", type=int, default=6)
    options = parser.parse_args()
    table = Table(title=f"DCGAN, {options.name} at 32 x 32, width {options.width}")
    for column in ("batch", "without, ms", "with, ms", "ratio (wanted: at most 1.02)", "of pairs", "in the hook"):
        table.add_column(column, justify="right")
    for batch in options.batch:
        with tempfile.TemporaryDirectory() as folder:
            without, watched, inside = measure(options, batch, folder)
        ratios = [b / a for a, b in zip(without, watched, strict=True)]
        table.add_row(
            str(batch),
            f"{1e3 * statistics.median(without):.1f}",
            f"{1e3 * statistics.median(watched):.1f}",
            f"{statistics.median(ratios):.4f}",
            f"{min(ratios):.3f}..{max(ratios):.3f}",
            f"{inside:.2%}",
        )
    Console().print(table)


if __name__ == "__main__":
    run()
