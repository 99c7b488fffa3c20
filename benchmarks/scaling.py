"""Images per second of one and of two processes with one thread each, and the share of a step that is communication.

python benchmarks/scaling.py                                # VAE, DCGAN and EDM, three rounds
python benchmarks/scaling.py --models DCGAN --rounds 1 --steps 20

Two runs of one process at the same time show what the machine allows: they share caches, memory and clock rate.

Every process has its own batch of the same size, so two processes would ideally train twice as many images per second.
The data path (shuffled digits, flips, gathering, conversion), the logger and the Trainer are included. Communication is
what a step takes less when nothing is averaged over the ranks; waiting for the other process is part of it. Rounds
alternate between the three measurements, and medians are reported. Run it on an idle machine with two cores per
process: other programs slow down two processes more than one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table

from lightning_gen.data import ImageData
from lightning_gen.loggers import RunCSVLogger
from lightning_gen.models import DCGAN, EDM, VAE, adversarial, base

SHAPE, WARM_UP = (1, 32, 32), 10
MODELS = {
    "VAE": lambda: VAE(SHAPE, width=32, latent_dim=32, ema_half_life=20_000),
    "DCGAN": lambda: DCGAN(SHAPE, width=32, latent_dim=64, ema_half_life=20_000),
    "EDM": lambda: EDM(SHAPE, width=32, multipliers=(1, 2), blocks=1, attention=(8,), ema_half_life=20_000),
}
WAYS = {
    "1 process": (1, 1, True),
    "2 processes": (1, 2, True),
    "2 without communication": (1, 2, False),
    "2 runs at once": (2, 1, True),
}
"""Number of runs, of processes of a run, and whether these communicate."""


class Timer(pl.Callback):
    """Measures the seconds after the warm-up."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if module.batches_seen == WARM_UP:
            self.start = time.perf_counter()

    def on_train_end(self, trainer, module):
        self.seconds = time.perf_counter() - self.start


class Silence(pl.Callback):
    """Averages nothing over the ranks: neither what the models average nor what DistributedDataParallel does."""

    def on_train_start(self, trainer, module):
        for user in (adversarial, base):
            user.average_over_ranks = lambda tensors: None
        if module.automatic_optimization:
            trainer.model.register_comm_hook(None, keep_gradient)


def keep_gradient(state, bucket):
    future = torch.futures.Future()
    future.set_result(bucket.buffer())
    return future


def work(args):
    """Train one model in this process, which torchrun has started, and write images per second to a file."""
    torch.set_num_threads(1)
    pl.seed_everything(0)
    processes, timer = int(os.environ["WORLD_SIZE"]), Timer()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=processes,
            strategy="ddp" if processes > 1 else "auto",
            max_steps=args.steps + WARM_UP,
            limit_val_batches=0,
            log_every_n_steps=10,
            logger=RunCSVLogger(folder),
            callbacks=[timer] if args.communicate else [timer, Silence()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(MODELS[args.models[0]](), ImageData(image_size=SHAPE[1], batch_size=args.batch_size, flip=True))
    if trainer.is_global_zero:
        rate = args.steps * args.batch_size * processes / timer.seconds
        Path(args.worker).write_text(json.dumps(rate))


def images_per_second(name, way, args):
    """Start the processes as torchrun does, and return their images per second, all together."""
    runs, processes, communicate = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        options = ["--models", name, "--steps", str(args.steps), "--batch_size", str(args.batch_size)]
        options += ["--communicate"] if communicate else []
        results = [Path(folder) / f"rate{run}.json" for run in range(runs)]
        started = [
            subprocess.Popen(
                [*launch, __file__, *options, "--worker", str(result)],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for result in results
        ]
        for process in started:
            _, messages = process.communicate()
            if process.returncode:
                raise SystemExit(messages[-2000:])
        return sum(json.loads(result.read_text()) for result in results)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=tuple(MODELS))
    parser.add_argument("--steps", type=int, default=100, help="measured batches")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=64, help="images per process")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--communicate", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = parse()
    if args.worker:
        work(args)
        return
    numbers = {}
    table = Table(
        "model", *WAYS, "times", "machine", "communication", title=f"images per second, {args.batch_size} per process"
    )
    for name in args.models:
        rates = {way: [] for way in WAYS}
        for _ in range(args.rounds):
            for way, measured in rates.items():
                measured.append(images_per_second(name, way, args))
        one, two, silent, apart = (median(measured) for measured in rates.values())
        numbers[name] = {**rates, "times": two / one, "machine": apart / one, "communication": 1 - two / silent}
        row = (
            *(f"{median(measured):,.0f}" for measured in rates.values()),
            f"{two / one:.2f}",
            f"{apart / one:.2f}",
            f"{1 - two / silent:.0%}",
        )
        table.add_row(name, *row)
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()
