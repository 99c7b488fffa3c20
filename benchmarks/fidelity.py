"""Images scored per second by lightning_gen and by torch-fidelity's ``calculate_metrics``, with the same Inception.

    python benchmarks/fidelity.py --num 96 --weights weights-inception-2015-12-05-6726825d.pth

Both compute FID, IS and KID of the same uint8 images in memory, in one call and with an empty cache. A table shows
seconds, images per second (of both sets together), their ratio, and the largest relative difference of the scores.
Without a weights file, torch-fidelity's architecture gets random weights and batch norms fitted to a few images; the
arithmetic is the same. The exit code is 1 when lightning_gen is slower or a score differs by more than 1e-6.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch
import torch_fidelity
from rich.console import Console
from rich.table import Table
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from lightning_gen.evaluation import make_extractor, score_images

METRICS = ("fid", "isc", "kid")
NAMES = {
    "fid": "frechet_inception_distance",
    "isc": "inception_score_mean",
    "kid": "kernel_inception_distance_mean",
}
KID_SUBSET = 1000


class Images(torch.utils.data.Dataset):
    """Images in memory: a torch Dataset for torch-fidelity and an ImageSet for lightning_gen."""

    labels = None

    def __init__(self, name, images):
        self.name = self.key = name
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def smooth_images(num, size, coarseness):
    """Random smooth colour images: enlarged coarse noise."""
    coarse = torch.rand(num, 3, coarseness, coarseness) * 255
    return nn.functional.interpolate(coarse, size=size, mode="bicubic").round().clamp(0, 255).to(torch.uint8)


def random_weights(path, images):
    with mock.patch.object(FeatureExtractorInceptionV3, "load_state_dict"), mock.patch("torch.load"):
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path="none")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
    torch.save(network.state_dict(), path)


def score_torch_fidelity(generated, reference, weights):
    result = torch_fidelity.calculate_metrics(
        input1=generated,
        input2=reference,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        **dict.fromkeys(METRICS, True),
        kid_subset_size=min(KID_SUBSET, len(generated)),
        cuda=torch.cuda.is_available(),
        verbose=False,
    )
    return {name: result[key] for name, key in NAMES.items()}


def score_lightning_gen(generated, reference, weights):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    extractor = make_extractor("inception", inception_weights=weights, device=device)
    scores = score_images(generated, reference, extractor, metrics=METRICS, batch_size=64).scores
    return {name: scores[name] for name in METRICS}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=96, help="the number of images in each of the two sets")
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--weights", type=Path, help="torch-fidelity's Inception weights; default: random")
    parser.add_argument(
        "--repeats", type=int, default=1, help="the number of runs of each, in turn; the fastest counts"
    )
    options = parser.parse_args()
    torch.manual_seed(0)
    generated = Images("generated", smooth_images(options.num, options.size, 6))
    reference = Images("reference", smooth_images(options.num, options.size, 8))
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or Path(folder) / "random.pth"
        if options.weights is None:
            random_weights(weights, reference.images[:32])
        seconds = {"torch-fidelity": [], "lightning_gen": []}
        for repeat in range(options.repeats):
            os.environ["LIGHTNING_GEN_CACHE"] = f"{folder}/{repeat}"  # an empty cache
            for name, run in (("torch-fidelity", score_torch_fidelity), ("lightning_gen", score_lightning_gen)):
                start = time.perf_counter()
                scores = run(generated, reference, weights)
                seconds[name].append(time.perf_counter() - start)
                if name == "torch-fidelity":
                    expected = scores
    difference = max(abs(scores[name] / expected[name] - 1) for name in METRICS)
    table = Table(title=f"FID, IS and KID of 2 x {options.num} images, {torch.get_num_threads()} threads")
    for column in ("", "seconds", "images/s", *METRICS):
        table.add_column(column, justify="right")
    for name, values in (("torch-fidelity", expected), ("lightning_gen", scores)):
        best = min(seconds[name])
        table.add_row(name, f"{best:.1f}", f"{2 * options.num / best:.2f}", *(f"{values[m]:.8g}" for m in METRICS))
    ratio = min(seconds["torch-fidelity"]) / min(seconds["lightning_gen"])
    table.caption = f"lightning_gen is {ratio:.2f} times as fast; scores differ by at most {difference:.1e}"
    Console().print(table)
    if ratio < 1 or difference > 1e-6:
        sys.exit(1)


if __name__ == "__main__":
    main()
