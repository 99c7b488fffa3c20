"""Training steps per second of DCGAN through the Trainer, against a bare PyTorch loop.

The Trainer runs as ``train.py fit`` does, with the default loggers (CSV and W&B) and callbacks: progress bar,
pictures, checkpoints. Scoring is switched off: it is work of its own, and benchmarks/fidelity.py times it. The bare
loop has the same networks, optimizers and batches, keeps the images in memory as floats, reuses the fakes for both
players and takes no gradient that it does not need. The two take turns; the table gives steps per second of each turn,
and the ratio of medians.

    python benchmarks/step.py                  # digits at 32 x 32
    python benchmarks/step.py --name mnist --root DIR
"""

import argparse
import os
import statistics
import tempfile
import time

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from lightning_gen.cli import main, training
from lightning_gen.data import ImageData
from lightning_gen.images import to_float
from lightning_gen.models.gans.dcgan import DCGAN

WARM_UP = 5


class Timer(pl.Callback):
    """Times from the first batch after the warm-up to the end of training, pictures and checkpoints included."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == WARM_UP:
            self.start = time.perf_counter()

    def on_train_end(self, trainer, module):
        self.rate = (trainer.global_step - WARM_UP) / (time.perf_counter() - self.start)


def through_the_trainer(options, folder):
    timer = Timer()
    instantiate = training.TrainingCLI.instantiate_trainer

    def with_timer(self, **kwargs):
        trainer = instantiate(self, **kwargs)
        trainer.callbacks.append(timer)
        return trainer

    training.TrainingCLI.instantiate_trainer = with_timer
    try:
        code = main(
            [
                "fit",
                "--model=DCGAN",
                f"--model.width={options.width}",
                f"--data.name={options.name}",
                f"--data.root={options.root}",
                "--data.image_size=32",
                f"--data.batch_size={options.batch}",
                f"--trainer.max_steps={options.steps + WARM_UP}",
                "--fidelity.features=null",
                f"--runs={folder}",
            ]
        )
    finally:
        training.TrainingCLI.instantiate_trainer = instantiate
    assert code == 0
    return timer.rate


def bare(options, images):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = DCGAN(image_shape=(1, 32, 32), width=options.width).to(device)
    generator, discriminator = model.generator, model.discriminator
    generator_optimizer, discriminator_optimizer = (
        torch.optim.Adam(player.parameters(), 2e-4, (0.5, 0.999)) for player in (generator, discriminator)
    )
    images = images.to(device)
    parameters = list(discriminator.parameters())
    per_epoch = len(images) // options.batch
    for step in range(options.steps + WARM_UP):
        if step == WARM_UP:
            if device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
        if step % per_epoch == 0:
            order = torch.randperm(len(images), device=device)
        real = images[order[(step % per_epoch) * options.batch :][: options.batch]]
        fake = generator(torch.randn(len(real), 100, device=device))
        loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake.detach())).mean()
        discriminator_optimizer.zero_grad()
        loss.backward()
        discriminator_optimizer.step()
        for parameter in parameters:
            parameter.requires_grad_(False)
        generator_optimizer.zero_grad()
        F.softplus(-discriminator(fake)).mean().backward()
        generator_optimizer.step()
        for parameter in parameters:
            parameter.requires_grad_(True)
    if device == "cuda":
        torch.cuda.synchronize()
    return options.steps / (time.perf_counter() - start)


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="digits")
    parser.add_argument("--root", default="data")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("WANDB_MODE", "offline")
    images = to_float(ImageData(options.name, options.root, image_size=32).image_set("train")[:])
    rates = {"Trainer": [], "bare loop": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.turns):
            rates["Trainer"].append(through_the_trainer(options, folder))
            rates["bare loop"].append(bare(options, images))
    table = Table(title=f"DCGAN, {options.name} at 32 x 32, width {options.width}, batch {options.batch}")
    for column in ("", *(f"turn {i + 1}" for i in range(options.turns)), "median steps/s"):
        table.add_column(column, justify="right")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        table.add_row(name, *(f"{value:.2f}" for value in values), f"{medians[name]:.2f}")
    console = Console()
    console.print(table)
    console.print(f"ratio {medians['Trainer'] / medians['bare loop']:.3f} (wanted: at least 0.95)")


if __name__ == "__main__":
    run()
