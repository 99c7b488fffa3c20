"""The bounds of a score by the classifier: held-out real images (the floor) and uniform noise (the ceiling).

python benchmarks/bounds.py                         # digits
python benchmarks/bounds.py --name mnist --root DIR --num 10000
"""

import argparse

from rich.console import Console
from rich.table import Table

from lightning_gen.data import ImageData
from lightning_gen.evaluation import UniformNoise, make_extractor, score_sampler, score_sets


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="digits")
    parser.add_argument("--root", default="data")
    parser.add_argument("--image_size", type=int)
    parser.add_argument("--num", type=int, help="images of noise; as many as the train split has, at most 10,000")
    options = parser.parse_args()
    data = ImageData(options.name, options.root, image_size=options.image_size)
    train, test = data.image_set("train"), data.image_set("test")
    extractor = make_extractor("classifier", labelled=(train, test))
    floor = score_sets(test, train, extractor)
    ceiling = score_sampler(UniformNoise(data.image_shape), train, extractor, num_samples=options.num)
    table = Table(title=f"{train.name}, classifier of {extractor.accuracy:.2%} test accuracy")
    for column in ("", "protocol", "fid"):
        table.add_column(column, justify="right")
    for name, card in (("held-out images", floor), ("uniform noise", ceiling)):
        table.add_row(name, card.protocol["fid"], f"{card.scores['fid']:.4g}")
    Console().print(table)


if __name__ == "__main__":
    run()
