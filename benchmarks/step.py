"""Training steps per second through the Trainer, against a bare PyTorch loop or another library's trainer.

The Trainer runs as ``train.py fit`` does, with the default loggers (CSV and W&B) and callbacks: progress bar,
pictures, checkpoints. Scoring is switched off: it is work of its own, and benchmarks/fidelity.py times it. The bare
loop has the same networks, optimizers and batches, keeps the images in memory as floats, reuses the fakes for both
players and takes no gradient that it does not need. The two take turns; the table gives steps per second of each turn,
and the ratio of medians.

    python benchmarks/step.py                  # DCGAN, digits at 32 x 32
    python benchmarks/step.py --name mnist --root DIR

``--against pythae`` trains the same small network, a VAE 784-512-16 on MNIST in batches of 100, by this suite's command
line and by the trainer of pythae 0.1.2 (https://github.com/clementchadebec/benchmark_VAE, ``pip install pythae``). Both
make pictures, save a checkpoint and compute the loss of the test images after each epoch. The table gives training
images per second of wall time and of CPU time, from the first batch to the end.

    python benchmarks/step.py --against pythae --root DIR --turns 5
"""

import argparse
import os
import resource
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
    fit_with(
        timer,
        "--model=DCGAN",
        f"--model.width={options.width}",
        f"--data.name={options.name}",
        f"--data.root={options.root}",
        "--data.image_size=32",
        f"--data.batch_size={options.batch}",
        f"--trainer.max_steps={options.steps + WARM_UP}",
        f"--runs={folder}",
    )
    return timer.rate


def fit_with(callback, *arguments):
    """Run ``fit`` with one more callback and without scores."""
    instantiate = training.TrainingCLI.instantiate_trainer

    def with_timer(self, **kwargs):
        trainer = instantiate(self, **kwargs)
        trainer.callbacks.append(callback)
        return trainer

    training.TrainingCLI.instantiate_trainer = with_timer
    environment = dict(os.environ)
    try:
        code = main(["fit", *arguments, "--fidelity.features=null"])
    finally:
        training.TrainingCLI.instantiate_trainer = instantiate
        os.environ.clear()
        os.environ.update(environment)  # the other trainer's is that of a process of its own
    assert code == 0


def bare(options, images):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = DCGAN(image_shape=(1, 32, 32), width=options.width).to(device)
    generator, discriminator = model.generator, model.discriminator
    generator_optimizer, discriminator_optimizer = (
        torch.optim.Adam(player.parameters(), 2e-4, (0.5, 0.999), fused=True) for player in (generator, discriminator)
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


def seconds():
    """Wall time and CPU time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), usage.ru_utime + usage.ru_stime


class EpochTimer(pl.Callback):
    """Times a run from its first batch to its end."""

    def on_train_start(self, trainer, module):
        self.start = seconds()

    def on_train_end(self, trainer, module):
        self.times = [end - start for start, end in zip(self.start, seconds(), strict=True)]


def vae_by_this_suite(options, images, folder):
    timer = EpochTimer()
    fit_with(
        timer,
        "--model=VAE",
        "--model.network=mlp",
        "--model.hidden=[512]",
        "--model.latent_dim=16",
        f"--data.name={options.name}",
        f"--data.root={options.root}",
        "--data.image_size=28",
        "--data.batch_size=100",
        f"--trainer.max_epochs={options.epochs}",
        f"--runs={folder}",
    )
    return timer.times


def vae_by_pythae(options, images, folder):
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss="bce")
    trainer = BaseTrainer(
        VAE(config),
        *(BaseDataset((images[split] + 1) / 2, torch.zeros(len(images[split]))) for split in ("train", "test")),
        BaseTrainerConfig(
            output_dir=folder,
            num_epochs=options.epochs,
            learning_rate=1e-3,
            per_device_train_batch_size=100,
            per_device_eval_batch_size=100,
            steps_saving=1,
            steps_predict=1,
            no_cuda=True,
        ),
    )
    start = seconds()
    trainer.train()
    return [end - start for start, end in zip(start, seconds(), strict=True)]


def against_pythae(options):
    torch.set_num_threads(options.threads)
    data = ImageData(options.name, options.root, image_size=28)
    images = {split: to_float(data.image_set(split)[:]) for split in ("train", "test")}
    trainers = {"lightning_gen": vae_by_this_suite, "pythae": vae_by_pythae}
    num = options.epochs * (len(images["train"]) // 100 * 100)
    rates = {name: [] for name in trainers}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.turns):
            for name, train in trainers.items():
                rates[name].append([num / duration for duration in train(options, images, folder)])
    table = Table(title=f"VAE 784-512-16, batch 100, {options.name}, {options.threads} threads: images/s")
    for column in ("", *(f"turn {i + 1}" for i in range(options.turns)), "median", "by CPU time"):
        table.add_column(column, justify="right")
    medians = {name: [statistics.median(of) for of in zip(*turns, strict=True)] for name, turns in rates.items()}
    for name, turns in rates.items():
        table.add_row(name, *(f"{wall:,.0f}" for wall, _ in turns), *(f"{value:,.0f}" for value in medians[name]))
    console = Console()
    console.print(table)
    ours, theirs = medians.values()
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    console.print(f"ratio {ratios[0]:.3f} (wanted: at least 1.1), by CPU time {ratios[1]:.3f}")


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", choices=("bare", "pythae"), default="bare")
    parser.add_argument("--name", help="dataset; default: digits, or mnist against pythae")
    parser.add_argument("--root", default="data")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="epochs of a turn against pythae")
    parser.add_argument("--threads", type=int, default=2, help="threads of both trainers against pythae")
    options = parser.parse_args()
    options.name = options.name or ("mnist" if options.against == "pythae" else "digits")
    os.environ.setdefault("WANDB_MODE", "offline")
    if options.against == "pythae":
        against_pythae(options)
        return
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
