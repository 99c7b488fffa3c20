"""What the metric copies says of memorisers and of honest samples, made of the digits' real images.

python benchmarks/copies.py --record protocol/copies

One half of the test split is held out. The samples are as many images: the other half (honest samples), or some of them
replaced by training images, or training images with noise.
"""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from lightning_gen.data import ImageData
from lightning_gen.evaluation import classifier_splits, make_extractor, score_images

ROOT = Path(__file__).parent.parent


class Some:
    """Unlabelled images in memory, with a key that differs from those of all other sets."""

    labels = None

    def __init__(self, name, images):
        self.name, self.key, self.images = name, f"benchmark {name}", images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[torch.from_numpy(index) if isinstance(index, np.ndarray) else index]


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", help="page and name of a record in docs/results")
    options = parser.parse_args()
    data = ImageData("digits")
    train, test = data.image_set("train"), data.image_set("test")
    extractor = make_extractor("classifier", labelled=classifier_splits(data))
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(len(test), generator=random)
    honest, held_out = (Some(name, test[:][part]) for name, part in zip("ab", order.chunk(2), strict=True))
    num = len(honest)
    memorised = train[:][torch.randperm(len(train), generator=random)[:num]]

    def noisy(levels):
        noise = levels * torch.randn(memorised.shape, generator=random)
        return (memorised + noise).round().clamp(0, 255).to(torch.uint8)

    def mixed(share):
        copied = round(share * num)
        return torch.cat([memorised[:copied], honest.images[copied:]])

    samples = {
        "held-out images": honest.images,
        "10 % copies": mixed(0.1),
        "45 % copies": mixed(0.45),
        "all copies": memorised,
        "copies with noise of 10 levels": noisy(10),
        "copies with noise of 20 levels": noisy(20),
    }
    rows = []
    for name, images in samples.items():
        card = score_images(Some(name, images), train, extractor, metrics=("copies",), held_out=held_out)
        rows.append({"name": name, "num": num, "scores": card.scores, "flag": card.flags.get("copies", "")})
    table = Table(title=f"{num} samples, {num} held-out images, {len(train):,} training images")
    for column in ("samples", *rows[0]["scores"], "flag"):
        table.add_column(column)
    for row in rows:
        table.add_row(row["name"], *(f"{value:.2g}" for value in row["scores"].values()), row["flag"])
    Console(width=200).print(table)
    if options.record:
        commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
        path = ROOT / "docs" / "results" / f"{options.record}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({"command": "python benchmarks/copies.py", "commit": commit, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    run()
