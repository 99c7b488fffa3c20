"""What real images and uniform noise score under the protocol of a dataset's samples.

python benchmarks/bounds.py                         # digits
python benchmarks/bounds.py --name mnist --root DIR --num 10000
python benchmarks/bounds.py --name stacked_mnist --root DIR --num 26000 --metrics fid modes
python benchmarks/bounds.py --record bounds/digits  # writes docs/results/bounds/digits.json, too

Real images are drawn from the reference as a sampler draws (the reference band, lightning_gen/evaluation/band.py): with
random classes, as an unconditional model's samples, and with permuted classes of the reference, as a conditional
model's. The modes are those of one such draw.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from lightning_gen.data import ImageData
from lightning_gen.evaluation import (
    MAX_SAMPLES,
    UniformNoise,
    classifier_splits,
    make_extractor,
    score_images,
    score_samples,
)
from lightning_gen.evaluation.band import bootstrap_indices
from lightning_gen.types import ImageSet

ROOT = Path(__file__).parent.parent


class Drawn:
    """Images drawn from a set with replacement."""

    def __init__(self, images: ImageSet, num: int):
        self.images, self.index = images, bootstrap_indices(len(images), None, num, seed=0)
        self.name, self.key = f"{num:,} drawn of {images.name}", f"{images.key} drawn {num}"
        self.labels = None if images.labels is None else np.asarray(images.labels)[self.index]

    def __len__(self):
        return len(self.index)

    def __getitem__(self, index):
        return self.images[self.index[index]]


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="digits")
    parser.add_argument("--root", default="data")
    parser.add_argument("--image_size", type=int)
    parser.add_argument("--num", type=int, help="images per draw; as many as the train split has, at most 10,000")
    parser.add_argument("--features", default="classifier")
    parser.add_argument("--metrics", nargs="+", default=["fid"])
    parser.add_argument("--draws", type=int, help="bootstrap draws; the metric's default")
    parser.add_argument("--record", help="page and name of a record in docs/results")
    options = parser.parse_args()
    data = ImageData(options.name, options.root, image_size=options.image_size)
    train, test = data.image_set("train"), data.image_set("test")
    num = options.num or min(len(train), MAX_SAMPLES)
    labelled = classifier_splits(data) if options.features == "classifier" else None
    extractor = make_extractor(options.features, labelled=labelled)
    common = {"metrics": options.metrics, "held_out": test, "band_draws": options.draws}
    noise = {
        "random classes": score_samples(UniformNoise(data.image_shape), train, extractor, num_samples=num, **common)
    }
    if train.labels is not None:
        conditional = UniformNoise(data.image_shape, data.num_classes)
        noise["classes of the reference"] = score_samples(conditional, train, extractor, num_samples=num, **common)
    drawn = score_images(Drawn(train, num), train, extractor, metrics=options.metrics, band_draws=0)
    table = Table(title=f"{num:,} images against {train.name}, {extractor.name}'s features")
    held_out_column = f"held-out ({min(num, len(test)):,})"
    for column in ("score", "classes", "real images", held_out_column, "uniform noise", "one draw of real images"):
        table.add_column(column, justify="right")
    for kind, card in noise.items():
        for score, value in card.scores.items():
            band = card.bands.get(score)
            held_out, real = ("", "") if band is None else (f"{band.held_out:.4g}", f"{band.mean:.3g} ± {band.std:.2g}")
            real_draw = f"{drawn.scores[score]:.4g}" if score in drawn.scores else ""
            table.add_row(score, kind, real, held_out, f"{value:.4g}", real_draw)
    Console().print(table)
    if options.record:
        path = ROOT / "docs" / "results" / f"{options.record}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        kinds = dict(zip(("card", "by_class"), (json.loads(card.to_json()) for card in noise.values()), strict=False))
        record = {
            "command": "python benchmarks/bounds.py " + " ".join(command_line(sys.argv[1:])),
            "commit": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip(),
            "drawn": drawn.scores,
            **kinds,
        }
        path.write_text(json.dumps(record, indent=1) + "\n")


def command_line(arguments):
    """The arguments without the option ``--record``, and with DIR for the data's folder."""
    kept = list(arguments)
    at = kept.index("--record")
    del kept[at : at + 2]
    if "--root" in kept:
        kept[kept.index("--root") + 1] = "DIR"
    return kept


if __name__ == "__main__":
    run()
