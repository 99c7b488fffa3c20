"""Speed and memory of the data path.

1. MNIST at 32x32 in batches of 128, one epoch: this suite's loader, as the training loop uses it, against
   torchvision's MNIST with Pad, ToTensor and Normalize in a torch DataLoader (the better of 0 and 2 workers).
2. Peak memory of decoding 5,000 and 50,000 images, each in a separate process (Linux).
3. Decoding a folder of JPEG files, 50,000 of 32x32 and 3,000 of 500x300 to 64x64: scanning and packing against a plain
   loop over Pillow in one thread, in turns. The table gives medians of wall time and of CPU time, workers included. On
   a machine with other jobs, compare CPU time: with n free cores, the ratio is at most n times that of CPU times.

    python benchmarks/data.py --root DIR      # DIR contains MNIST/raw
    python benchmarks/data.py --only decoding --turns 5
"""

import argparse
import os
import resource
import shutil
import statistics
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
KINDS = ((50_000, (32, 32), 32), (3_000, (500, 300), 64))
"""Number of files, (width, height) of a file, and the size decoded to."""


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
    print(before, memory_mib("VmHWM"), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)


def memory_table() -> Table:
    """Measure the decoding of two folders."""
    columns = ("images", "seconds", "memory before, MiB", "peak, MiB", "largest worker, MiB")
    table = Table(*columns, title="decoding 40x40 to 32x32")
    for num in (5_000, 50_000):
        with tempfile.TemporaryDirectory() as folder:
            images = Path(folder) / "images"
            images.mkdir()
            for index in range(num):
                pixels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), np.uint8)
                Image.fromarray(pixels).save(images / f"{index:06}.png", compress_level=0)
            start = time.perf_counter()
            command = [sys.executable, __file__, "--pack", str(images)]
            memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            seconds = time.perf_counter() - start
            table.add_row(f"{num:,}", f"{seconds:.1f}", *(f"{float(value):.0f}" for value in memory))
    return table


def write_jpegs(folder: Path, num: int, size: tuple[int, int]) -> None:
    """Write coloured clouds with noise, whose files are about as long as those of photographs."""
    width, height = size
    folder.mkdir()
    for index in range(num):
        rng = np.random.default_rng(index)
        coarse = rng.integers(0, 256, (height // 16 + 4, width // 16 + 4, 3), np.uint8)
        cloud = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.int16)
        pixels = (cloud + rng.integers(-12, 13, (height, width, 1))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:06}.jpg", quality=90)


def plain_loop(folder: Path, size: int) -> None:
    """Decode, crop and resize each file with Pillow, in one thread."""
    for path in sorted(folder.iterdir()):
        with Image.open(path) as file:
            image = file.convert("RGB")
            if image.size != (size, size):
                side = min(image.size)
                left, top = (image.width - side) // 2, (image.height - side) // 2
                image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
            np.asarray(image)


def scan_and_pack(folder: Path, size: int) -> None:
    """Scan and decode a folder that was not read before."""
    shutil.rmtree(folder.parent / ".lightning_gen", ignore_errors=True)
    ImageData("folder", str(folder), image_size=size).prepare_data()


def cpu_seconds() -> float:
    """CPU time of this process and of its finished children."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def decoding_table(turns: int, fraction: float) -> Table:
    """Measure both ways of reading each kind of folder."""
    title = f"decoding folders of JPEG files, {turns} turns, {len(os.sched_getaffinity(0))} cores"
    table = Table("files", "reader", "seconds", "ratio", "CPU seconds", "ratio", title=title)
    ways = {"plain loop": plain_loop, "ImageData": scan_and_pack}
    for num, file_size, size in KINDS:
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "images"
            write_jpegs(folder, int(num * fraction), file_size)
            measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for _ in range(turns):
                for name, read in ways.items():
                    start, cpu_start = time.perf_counter(), cpu_seconds()
                    read(folder, size)
                    measured[name].append((time.perf_counter() - start, cpu_seconds() - cpu_start))
        medians = {
            name: [statistics.median(times) for times in zip(*rows, strict=True)] for name, rows in measured.items()
        }
        for name, (seconds, cpu) in medians.items():
            ratios = [plain / ours for plain, ours in zip(medians["plain loop"], (seconds, cpu), strict=True)]
            files = f"{int(num * fraction):,} of {file_size[0]}x{file_size[1]}"
            table.add_row(files, name, f"{seconds:.2f}", f"{ratios[0]:.2f}", f"{cpu:.2f}", f"{ratios[1]:.2f}")
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="folder that contains MNIST/raw")
    parser.add_argument("--only", choices=("serving", "memory", "decoding"), help="measure one table")
    parser.add_argument("--turns", type=int, default=3, help="turns of the table of decoding")
    parser.add_argument("--fraction", type=float, default=1.0, help="part of the files that are decoded")
    parser.add_argument("--pack", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pack:
        measure_packing(arguments.pack)
        return
    console = Console()
    if arguments.only in (None, "serving"):
        console.print(speed_table(arguments.root))
    if arguments.only in (None, "memory"):
        console.print(memory_table())
    if arguments.only in (None, "decoding"):
        console.print(decoding_table(arguments.turns, arguments.fraction))


if __name__ == "__main__":
    main()
