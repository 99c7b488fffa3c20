"""The score of one checkpoint by sampler and number of steps, as a table and a plot.

python benchmarks/samplers.py --ckpt runs/ddpm_digits --samplers ancestral ddim dpm_solver heun --out samplers.png

A step of heun asks the network twice, but for the last; the second column counts.
"""

import argparse
import time
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from lightning_gen.cli.runs import find_checkpoint, usable
from lightning_gen.cli.scoring import dataset_of, labelled_sets
from lightning_gen.evaluation import make_extractor, score_sampler
from lightning_gen.models.checkpoint import load_model
from lightning_gen.types import Sampling

PASSES = {"heun": 2, "stochastic_heun": 2}
"""Of the network in a step; 1 where nothing is said."""


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
    data, device = dataset_of(checkpoint, options.root), usable(options.device)
    model = load_model(checkpoint).to(device)
    extractor = make_extractor("classifier", labelled=labelled_sets(data), device=device)
    real = data.image_set(options.split)
    table = Table(title=f"{type(model).__name__}, {model.images_seen:,} images seen, fid against {real.name}")
    for column in ("sampler", *map(str, options.steps)):
        table.add_column(column, justify="right")
    figure = Figure((6, 4), dpi=100)
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="passes of the network", ylabel="fid")
    for name in options.samplers:
        scores, passes, seconds = [], [], []
        for steps in options.steps:
            model.sampling = Sampling(sampler=name, steps=steps)
            began = time.perf_counter()
            card = score_sampler(model, real, extractor, num_samples=options.num)
            seconds.append(time.perf_counter() - began)
            scores.append(card.scores["fid"])
            passes.append(PASSES.get(name, 1) * steps - (PASSES.get(name, 1) > 1))
            print(f"{name} {steps} steps, {passes[-1]} passes: {scores[-1]:.4g} ({seconds[-1]:.0f} s)", flush=True)
        table.add_row(name, *(f"{score:.4g}" for score in scores))
        axes.plot(passes, scores, marker="o", label=name)
    Console().print(table)
    if options.out:
        axes.legend()
        axes.grid(alpha=0.3, which="both")
        figure.tight_layout()
        figure.savefig(options.out)


if __name__ == "__main__":
    run()
