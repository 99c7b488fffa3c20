"""The score of one checkpoint by sampler and number of steps, as a table and a plot.

python benchmarks/samplers.py --ckpt runs/ddpm_digits --samplers ancestral ddim dpm_solver heun --out samplers.png
python benchmarks/samplers.py ... --draws 3 --record diffusion/samplers    # writes docs/results/diffusion/samplers.json

Each score is the mean over sample seeds; the table has their standard deviation and what real images score. The plot is
over passes of the network: a step of heun asks it twice, but for the last.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, stdev

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from lightning_gen.cli.checkpoint_data import dataset_of
from lightning_gen.cli.devices import resolve_device
from lightning_gen.evaluation import Band, classifier_splits, make_extractor, score_samples
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.types import SamplingOptions

ROOT = Path(__file__).parent.parent
Scores = dict[str, list[tuple[int, list[float]]]]
"""Passes of the network and the score of each draw, by sampler."""


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path, required=True)
    parser.add_argument("--samplers", nargs="+", required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20, 50, 250])
    parser.add_argument("--num", type=int, help="images; as many as the train split has, at most 10,000")
    parser.add_argument("--draws", type=int, default=1, help="sample seeds, from 1 on")
    parser.add_argument("--split", default="train")
    parser.add_argument("--root", help="where the dataset lies now")
    parser.add_argument("--out", type=Path, help="the plot")
    parser.add_argument("--device")
    parser.add_argument("--record", help="page and name of a record in docs/results")
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
            cards = [
                score_samples(model, real, extractor, num_samples=options.num, seed=1 + draw)
                for draw in range(options.draws)
            ]
            drawn = [card.scores["fid"] for card in cards]
            scores[name].append((passes(name, steps), drawn))
            print(f"{name}, {steps} steps: {spread(drawn)} ({time.perf_counter() - began:.0f} s)", flush=True)
    band, protocol = cards[0].bands["fid"], cards[0].protocol["fid"]
    title = f"{type(model).__name__}, {model.images_seen:,} images seen, {protocol}"
    table = Table(title=title, caption=f"real images: {band.mean:.3g} ± {band.std:.2g}")
    for column in ("sampler", *map(str, options.steps)):
        table.add_column(column, justify="right")
    for name, points in scores.items():
        table.add_row(name, *(spread(drawn) for _, drawn in points))
    Console().print(table)
    if options.out:
        plot(scores, band, options.out)
    if options.record:
        kept = list(sys.argv[1:])
        for option in ("--record", "--out", "--root"):
            if option in kept:
                del kept[kept.index(option) : kept.index(option) + 2]
        kept[kept.index("--ckpt") + 1] = f"runs/{options.ckpt.name}"
        record = {
            "command": "python benchmarks/samplers.py " + " ".join(kept),
            "commit": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip(),
            "model": type(model).__name__,
            "images_seen": model.images_seen,
            "protocol": protocol,
            "band": {"mean": band.mean, "std": band.std},
            "steps": options.steps,
            "scores": {name: [drawn for _, drawn in points] for name, points in scores.items()},
        }
        path = ROOT / "docs" / "results" / f"{options.record}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n")


def spread(drawn):
    """Mean and standard deviation of the draws as text."""
    return f"{fmean(drawn):.4g}" + (f" ± {stdev(drawn):.2g}" if len(drawn) > 1 else "")


def passes(sampler: str, steps: int) -> int:
    """How often the network is asked: twice in a step of heun but for the last."""
    return 2 * steps - 1 if sampler.endswith("heun") else steps


def plot(scores: Scores, band: Band, out: Path) -> None:
    figure = Figure((6, 4), dpi=100)
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="passes of the network", ylabel="fid")
    for name, points in scores.items():
        errors = [stdev(drawn) if len(drawn) > 1 else 0.0 for _, drawn in points]
        numbers, means = [number for number, _ in points], [fmean(drawn) for _, drawn in points]
        axes.errorbar(numbers, means, errors, marker="o", capsize=3, label=name)
    axes.axhspan(max(band.mean - 2 * band.std, 1e-3), band.mean + 2 * band.std, color="0.9", label="real images")
    axes.legend()
    axes.grid(alpha=0.3, which="both")
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    run()
