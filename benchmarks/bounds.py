"""The bounds of a score by the classifier: held-out real images (the floor) and uniform noise (the ceiling).

python benchmarks/bounds.py                         # digits
python benchmarks/bounds.py --name mnist --root DIR --num 10000
python benchmarks/bounds.py --name stacked_mnist --root DIR --num 26000

The modes of the first images of the train split tell what a perfect sampler of as many images would get.
"""

import argparse

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
from lightning_gen.types import ImageSet


class First:
    """The first images of a set."""

    def __init__(self, images: ImageSet, num: int):
        self.images, self.num = images, min(num, len(images))
        self.name, self.key = f"first {self.num:,} of {images.name}", f"{images.key} {self.num}"
        self.labels = None if images.labels is None else images.labels[: self.num]

    def __len__(self):
        return self.num

    def __getitem__(self, index):
        return self.images[np.arange(self.num)[index]]


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="digits")
    parser.add_argument("--root", default="data")
    parser.add_argument("--image_size", type=int)
    parser.add_argument("--num", type=int, help="images of noise; as many as the train split has, at most 10,000")
    options = parser.parse_args()
    data = ImageData(options.name, options.root, image_size=options.image_size)
    train, test = data.image_set("train"), data.image_set("test")
    num = options.num or min(len(train), MAX_SAMPLES)
    extractor = make_extractor("classifier", labelled=classifier_splits(data))
    cards = {
        "held-out images": score_images(test, train, extractor, metrics=("fid", "modes")),
        "train images": score_images(First(train, num), train, extractor, metrics=("modes",)),
        "uniform noise": score_samples(
            UniformNoise(data.image_shape), train, extractor, metrics=("fid", "modes"), num_samples=num
        ),
    }
    table = Table(title=f"{train.name}, classifier of {extractor.accuracy:.2%} test accuracy")
    for column in ("", "images", "fid", f"modes of {extractor.classes:,}", "modes_kl"):
        table.add_column(column, justify="right")
    for name, card in cards.items():
        fid = f"{card.scores['fid']:.4g}" if "fid" in card.scores else ""
        modes, divergence = card.scores["modes"], card.scores["modes_kl"]
        table.add_row(name, f"{card.num_generated:,}", fid, f"{modes:,.0f}", f"{divergence:.4g}")
    Console().print(table)


if __name__ == "__main__":
    run()
