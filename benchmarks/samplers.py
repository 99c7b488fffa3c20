"""The score of one checkpoint by sampler and number of steps, as a table and a plot.

python benchmarks/samplers.py --ckpt runs/ddpm_digits --samplers ancestral ddim dpm_solver heun --out samplers.png

The plot is over passes of the network: a step of heun asks it twice, but for the last.
"""

import argparse
import time
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from lightning_gen.cli.devices import resolve_device
from lightning_gen.cli.scoring import dataset_of
from lightning_gen.evaluation import classifier_splits, make_extractor, score_samples
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.types import SamplingOptions

Scores = dict[str, list[tuple[int, float]]]
"""Passes of the network and score, by sampler."""


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path, required=True)
    parser.add_argument("--samplers", nargs="+", required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20, 50, 250])
    parser.add_argument("--num", type=int, help="images; as many as the train split has, at most 10,000")
    parser.add_argument("--split", default="train")
    parser.add_argument("--root", help="where the dataset lies now")
    parser.add_argument("--out", type=Path, help="the plot")
    parser.add_argument("--device")
    options = parser.parse_args()
    checkpoint = find_checkpoint(options.ckpt)
    data, device = dataset_of(checkpoint, options.root), resolve_device(options.device)
    model = load_model(checkpoint).to(device)
    extractor = make_extractor("classifier", labelled=classifier_splits(data), device=device)
    real = data.image_set(options.split)
    scores: Scores = {name: [] for name in options.samplers}
    for steps in options.steps:
        for name in options.samplers:
            model.sampling = SamplingOptions(sampler=name, steps=steps)
            began = time.perf_counter()
            fid = score_samples(model, real, extractor, num_samples=options.num).scores["fid"]
            scores[name].append((passes(name, steps), fid))
            print(f"{name}, {steps} steps: {fid:.4g} ({time.perf_counter() - began:.0f} s)", flush=True)
    table = Table(title=f"{type(model).__name__}, {model.images_seen:,} images seen, fid against {real.name}")
    for column in ("sampler", *map(str, options.steps)):
        table.add_column(column, justify="right")
    for name, points in scores.items():
        table.add_row(name, *(f"{fid:.4g}" for _, fid in points))
    Console().print(table)
    if options.out:
        plot(scores, options.out)


def passes(sampler: str, steps: int) -> int:
    """How often the network is asked: twice in a step of heun but for the last."""
    return 2 * steps - 1 if sampler.endswith("heun") else steps


def plot(scores: Scores, out: Path) -> None:
    figure = Figure((6, 4), dpi=100)
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="passes of the network", ylabel="fid")
    for name, points in scores.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.legend()
    axes.grid(alpha=0.3, which="both")
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    run()
