"""Images scored per second, ours against torch-fidelity's ``calculate_metrics``: same images, same Inception, one run.

    python benchmarks/fidelity.py --num 96 --weights weights-inception-2015-12-05-6726825d.pth

Both get the same uint8 images in memory and compute FID, IS and KID in one call from nothing cached; a table gives
seconds, images per second (of both sets together), their ratio, and the largest relative difference of the scores.
Without a weights file, torch-fidelity's architecture gets random weights with batch norms fitted to some images: the
arithmetic is the same. Fails when ours is slower or a score differs by more than 1e-6.
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
SUBSET = 1000


class Images(torch.utils.data.Dataset):
    """Images in memory, as a torch Dataset for the one and an ImageSet for the other."""

    labels = None

    def __init__(self, name, images):
        self.name = self.key = name
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def smooth_images(num, size, coarseness):
    """Random colour images without the flatness of noise: coarse noise, enlarged."""
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


def theirs(generated, reference, weights):
    result = torch_fidelity.calculate_metrics(
        input1=generated,
        input2=reference,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        **dict.fromkeys(METRICS, True),
        kid_subset_size=min(SUBSET, len(generated)),
        cuda=torch.cuda.is_available(),
        verbose=False,
    )
    return {name: result[key] for name, key in NAMES.items()}


def ours(generated, reference, weights):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    extractor = make_extractor("inception", inception_weights=weights, device=device)
    scores = score_images(generated, reference, extractor, metrics=METRICS, batch_size=64).scores
    return {name: scores[name] for name in METRICS}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=96, help="images in each of the two sets")
    parser.add_argument("--size", type=int, default=32, help="their height and width")
    parser.add_argument("--weights", type=Path, help="torch-fidelity's Inception weights; random when not given")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each, in turn; the fastest counts")
    options = parser.parse_args()
    torch.manual_seed(0)
    generated = Images("generated", smooth_images(options.num, options.size, 6))
    reference = Images("reference", smooth_images(options.num, options.size, 8))
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or Path(folder) / "random.pth"
        if options.weights is None:
            random_weights(weights, reference.images[:32])
        seconds = {"torch-fidelity": [], "ours": []}
        for repeat in range(options.repeats):
            os.environ["LIGHTNING_GEN_CACHE"] = f"{folder}/{repeat}"  # nothing cached
            for name, run in (("torch-fidelity", theirs), ("ours", ours)):
                start = time.perf_counter()
                scores = run(generated, reference, weights)
                seconds[name].append(time.perf_counter() - start)
                if name == "torch-fidelity":
                    truth = scores
    difference = max(abs(scores[name] / truth[name] - 1) for name in METRICS)
    table = Table(title=f"FID, IS and KID of 2 x {options.num} images, {torch.get_num_threads()} threads")
    for column in ("", "seconds", "images/s", *METRICS):
        table.add_column(column, justify="right")
    for name, values in (("torch-fidelity", truth), ("ours", scores)):
        best = min(seconds[name])
        table.add_row(name, f"{best:.1f}", f"{2 * options.num / best:.2f}", *(f"{values[m]:.8g}" for m in METRICS))
    ratio = min(seconds["torch-fidelity"]) / min(seconds["ours"])
    table.caption = f"ours is {ratio:.2f} times as fast; scores differ by {difference:.1e} at most"
    Console().print(table)
    if ratio < 1 or difference > 1e-6:
        sys.exit(1)


if __name__ == "__main__":
    main()
