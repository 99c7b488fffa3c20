"""Images per second of training on one GPU, through the Trainer and by a bare eager loop, by precision and switch.

Without a GPU it says so and ends. Each network is trained for a few seconds per row, on digits that are enlarged to its
size:

* ``bare``: a loop in plain PyTorch with the model's own losses and optimisers in float32 (TensorFloat32), on batches
  that lie on the GPU;
* ``32-true``, ``16-mixed``, ``bf16-mixed``: the Trainer with the suite's data module, as ``train.py fit`` runs it, but
  without loggers and callbacks (benchmarks/step.py measures those);
* the last with ``channels_last`` weights, and with ``--compile``.

The columns are images per second, the ratio to the bare loop, the peak of allocated memory in MiB, and the share of the
step that the data path alone takes. Rows that do not fit into the time limit are left out, and named.

    python benchmarks/gpu.py --out gpu.json
"""

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import move_data_to_device
from rich.console import Console
from rich.table import Table
from torch.utils import _pytree as pytree

from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.models import DCGAN, SNGAN, FlowMatching, StyleGAN2
from lightning_gen.models.adversarial import AdversarialModule, frozen

WARM_UP = 5


@dataclass(frozen=True)
class Network:
    """A network and its batches.

    Attributes:
        name: name of the rows.
        make: the model's constructor.
        size: height and width of the images, which have three channels.
        batch: images per batch.
        options: further arguments of the constructor.
    """

    name: str
    make: Callable[..., Any]
    size: int
    batch: int
    options: dict[str, Any]

    def model(self, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        return self.make((3, self.size, self.size), **self.options)


UNET = {"width": 128, "multipliers": (1, 2, 2, 2), "attention": (16,)}
DIT = {"network": "dit", "width": 384, "depth": 12, "heads": 6, "patch": 4}
NETWORKS = (
    Network("DCGAN, 32", DCGAN, 32, 128, {"width": 64}),
    Network("DCGAN, 64", DCGAN, 64, 128, {"width": 64}),
    Network("DCGAN, 128", DCGAN, 128, 128, {"width": 64}),
    Network("SNGAN, 32", SNGAN, 32, 64, {"width": 128}),
    Network("StyleGAN2, 64", StyleGAN2, 64, 32, {}),
    Network("UNet, 32", FlowMatching, 32, 128, UNET),
    Network("DiT-S/4, 64", FlowMatching, 64, 128, DIT),
)
TINY = (
    Network("DCGAN, 32", DCGAN, 32, 8, {"width": 4}),
    Network("DCGAN, 64", DCGAN, 64, 8, {"width": 4}),
    Network("SNGAN, 32", SNGAN, 32, 8, {"width": 4}),
    Network("StyleGAN2, 16", StyleGAN2, 16, 8, {"channel_base": 64, "channel_max": 8, "latent_dim": 8, "style_dim": 8}),
    Network("UNet, 16", FlowMatching, 16, 8, {"width": 8}),
    Network("DiT, 16", FlowMatching, 16, 8, {"network": "dit", "width": 16, "depth": 2, "heads": 2, "patch": 4}),
)
"""For a test of this file on the CPU."""


@dataclass(frozen=True)
class Way:
    """A way of training: precision, and whether weights are channels-last and networks compiled."""

    name: str
    precision: Any = "32-true"
    channels_last: bool = False
    compiled: bool = False


WAYS = (
    Way("32-true"),
    Way("16-mixed", "16-mixed"),
    Way("bf16-mixed", "bf16-mixed"),
    Way("bf16-mixed, channels_last", "bf16-mixed", channels_last=True),
    Way("32-true, compiled", compiled=True),
    Way("bf16-mixed, compiled", "bf16-mixed", compiled=True),
)


@dataclass
class Row:
    """A measurement; ``data_share`` is the time of the data path alone, as a fraction of the step."""

    network: str
    way: str
    images_per_second: float
    ratio: float
    memory_mib: float
    data_share: float | None
    first_step_seconds: float | None = None


class Clock:
    """Times steps after a warm-up, and says when to stop."""

    def __init__(self, device: torch.device, seconds: float) -> None:
        self.device, self.seconds, self.steps = device, seconds, -WARM_UP
        self.created = time.perf_counter()
        self.first = self.rate = 0.0
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def tick(self) -> bool:
        """Count a step; whether the time is over."""
        self.steps += 1
        if self.steps in (1 - WARM_UP, 0):
            self.synchronise()
        if self.steps == 1 - WARM_UP:
            self.first = time.perf_counter() - self.created
        if self.steps == 0:
            self.start = time.perf_counter()
        if self.steps <= 0 or time.perf_counter() - self.start < self.seconds:
            return False
        self.synchronise()
        self.rate = self.steps / (time.perf_counter() - self.start)
        return True

    def synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @property
    def memory_mib(self) -> float:
        return torch.cuda.max_memory_allocated() / 2**20 if self.device.type == "cuda" else 0.0


class ClockCallback(pl.Callback):
    """Ends a fit when the clock says so."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        trainer.should_stop = self.clock.tick()


def batches(data: ImageData, device: torch.device) -> Iterator[Any]:
    """Training batches on the device, as a model gets them, epoch after epoch."""
    for stored in cycle(data.train_dataloader()):
        yield data.on_after_batch_transfer(move_data_to_device(stored, device), 0)


def bare_loop(network: Network, data: ImageData, device: torch.device, seconds: float) -> Clock:
    """Train by a loop in plain PyTorch; the same few batches again and again."""
    model = network.model().to(device).train()
    configured = model.configure_optimizers()
    optimizers = configured[0] if isinstance(configured, tuple) else configured
    source = batches(data, device)
    kept = cycle([next(source) for _ in range(4)])
    step = adversarial_step if isinstance(model, AdversarialModule) else descent_step
    clock = Clock(device, seconds)
    while True:
        step(model, next(kept), optimizers, clock.steps)
        model.images_seen += network.batch
        if clock.tick():
            return clock


def descent_step(model: Any, batch: Any, optimizers: Any, number: int) -> None:
    optimizers[0].zero_grad()
    model.loss(batch).total.backward()
    optimizers[0].step()


def adversarial_step(model: Any, batch: Any, optimizers: Any, number: int) -> None:
    generator_optimizer, discriminator_optimizer = optimizers
    fakes = model.generate(batch)
    detached = pytree.tree_map(torch.detach, fakes)
    discriminator_optimizer.zero_grad()
    model.discriminator_loss(batch, detached).total.backward()
    if number % model.penalty_every == 0 and (penalty := model.discriminator_penalty(batch, detached)):
        (penalty.total * model.penalty_every).backward()
    discriminator_optimizer.step()
    if number % model.n_critic:
        return
    with frozen(model.discriminators()):
        generator_optimizer.zero_grad()
        model.generator_loss(batch, fakes).total.backward()
        if number % model.generator_penalty_every == 0 and (penalty := model.generator_penalty(batch)):
            (penalty.total * model.generator_penalty_every).backward()
        generator_optimizer.step()


def through_the_trainer(network: Network, way: Way, data: ImageData, device: torch.device, seconds: float) -> Clock:
    """Train by the Trainer."""
    torch.compiler.reset()
    model = network.model()
    model.compile_training = way.compiled
    if way.channels_last:
        for trained in model.training_networks():
            trained.to(memory_format=torch.channels_last)
    clock = Clock(device, seconds)
    trainer = pl.Trainer(
        accelerator=device.type,
        devices=1,
        precision=way.precision,
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        callbacks=[ClockCallback(clock)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(model, data)
    return clock


def data_seconds(data: ImageData, device: torch.device, seconds: float) -> float:
    """Seconds per batch of the data path alone."""
    clock = Clock(device, seconds)
    for _ in batches(data, device):
        if clock.tick():
            break
    return 1 / clock.rate


def measure(
    networks: tuple[Network, ...], ways: Sequence[Way], device: torch.device, seconds: float, deadline: float
) -> Iterator[Row]:
    """Measure all rows that fit into the time."""
    for network in networks:
        data = ImageData("digits", image_size=network.size, channels=3, batch_size=network.batch)
        data.prepare_data()
        loading = data_seconds(data, device, seconds / 4)
        bare = bare_loop(network, data, device, seconds)
        yield Row(network.name, "bare", bare.rate * network.batch, 1.0, bare.memory_mib, None)
        for way in ways:
            if time.perf_counter() > deadline:
                print(f"no time for {network.name}: {way.name}")
                continue
            if way.precision == "16-mixed" and device.type == "cpu":
                continue
            try:
                clock = through_the_trainer(network, way, data, device, seconds)
            except (InputError, RuntimeError) as error:
                print(f"{network.name}: {way.name} failed: {str(error).strip().splitlines()[0]}")
                continue
            images = clock.rate * network.batch
            ratio, share = clock.rate / bare.rate, loading * clock.rate
            yield Row(network.name, way.name, images, ratio, clock.memory_mib, share, clock.first)


def main() -> None:
    """Print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of a measurement")
    parser.add_argument("--minutes", type=float, default=7.5, help="time limit")
    parser.add_argument("--only", nargs="+", help="beginnings of the networks' names")
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.tiny:
        print("there is no GPU: nothing is measured")
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    networks = tuple(
        network
        for network in (TINY if options.tiny else NETWORKS)
        if not options.only or network.name.startswith(tuple(options.only))
    )
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    rows: list[Row] = []
    ways = [way for way in WAYS if not (options.eager and way.compiled)]
    for row in measure(networks, ways, device, options.seconds, time.perf_counter() + 60 * options.minutes):
        rows.append(row)
        print(row, flush=True)
        if options.out:
            record = {"device": name, "torch": torch.__version__, "rows": [asdict(one) for one in rows]}
            options.out.write_text(json.dumps(record, indent=2))
    columns = ("network", "way", "images/s", "ratio", "memory, MiB", "data path", "first step, s")
    table = Table(*columns, title=f"training on {name}, torch {torch.__version__}")
    for row in rows:
        share = "" if row.data_share is None else f"{row.data_share:.1%}"
        first = "" if row.first_step_seconds is None else f"{row.first_step_seconds:.1f}"
        numbers = f"{row.images_per_second:,.0f}", f"{row.ratio:.2f}", f"{row.memory_mib:,.0f}"
        table.add_row(row.network, row.way, *numbers, share, first)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
