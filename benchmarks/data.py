"""Speed and memory of the data path.

1. MNIST at 32x32 in batches of 128, one epoch: this suite's loader, as the training loop uses it, against
   torchvision's MNIST with Pad, ToTensor and Normalize in a torch DataLoader (the better of 0 and 2 workers).
2. Peak memory of decoding 5,000 and 50,000 images, each in a separate process (Linux).

    python benchmarks/data.py --root DIR      # DIR contains MNIST/raw
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torchvision import transforms
from torchvision.datasets import MNIST

from lightning_gen.data import ImageData

BATCH_SIZE = 128


def images_per_second(epoch: Callable[[], Iterable[torch.Tensor]], repeats: int) -> float:
    """The best rate of ``repeats`` epochs, after one warm-up epoch."""
    best = 0.0
    for _ in range(repeats + 1):
        start = time.perf_counter()
        images = sum(len(batch) for batch in epoch())
        best = max(best, images / (time.perf_counter() - start))
    return best


def speed_table(root: str) -> Table:
    """Measure both loaders."""
    table = Table("loader", "images/s", "ratio", title="MNIST 32x32, batches of 128")
    steps = [transforms.Pad(2), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
    dataset = MNIST(root, transform=transforms.Compose(steps))
    rates: dict[str, float] = {}
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(dataset, BATCH_SIZE, shuffle=True, drop_last=True, num_workers=workers)
        rates[f"torchvision + DataLoader, {workers} workers"] = images_per_second(
            lambda loader=loader: (x for x, _ in loader), 1
        )
    baseline = max(rates.values())
    data = ImageData("mnist", root, batch_size=BATCH_SIZE)
    for cache in ("memory", "disk"):
        data.cache = cache
        loader = data.train_dataloader()
        rates[f"ImageData, {cache}: uint8"] = images_per_second(
            lambda loader=loader: (batch.images for batch in loader), 5
        )
        rates[f"ImageData, {cache}: float in [-1, 1]"] = images_per_second(
            lambda loader=loader: (data.on_after_batch_transfer(batch, 0).images for batch in loader), 5
        )
    for name, value in rates.items():
        table.add_row(name, f"{value:,.0f}", f"{value / baseline:.1f}")
    return table


def memory_mib(field: str) -> float:
    """VmRSS (current) or VmHWM (peak) of this process in MiB; ``getrusage`` would include the parent's peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def measure_packing(folder: Path) -> None:
    """Decode a folder, and print the memory before and at the peak; runs in a separate process."""
    before = memory_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak, which includes the imports
    ImageData("folder", str(folder), image_size=32).prepare_data()
    print(before, memory_mib("VmHWM"))


def memory_table() -> Table:
    """Measure the decoding of two folders."""
    table = Table("images", "seconds", "memory before, MiB", "peak, MiB", title="decoding 40x40 to 32x32")
    for num in (5_000, 50_000):
        with tempfile.TemporaryDirectory() as folder:
            images = Path(folder) / "images"
            images.mkdir()
            for index in range(num):
                pixels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), np.uint8)
                Image.fromarray(pixels).save(images / f"{index:06}.png", compress_level=0)
            start = time.perf_counter()
            command = [sys.executable, __file__, "--pack", str(images)]
            before, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            seconds = time.perf_counter() - start
            table.add_row(f"{num:,}", f"{seconds:.1f}", f"{float(before):.0f}", f"{float(peak):.0f}")
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="folder that contains MNIST/raw")
    parser.add_argument("--pack", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pack:
        measure_packing(arguments.pack)
        return
    console = Console()
    console.print(speed_table(arguments.root))
    console.print(memory_table())


if __name__ == "__main__":
    main()
