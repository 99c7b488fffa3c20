"""Overfitting of a discriminator to 200 digits, without and with adaptive discriminator augmentation (ADA).

A StyleGAN2 with the settings of configs/stylegan2_digits.yaml, but a weak R1 penalty, which would hide the overfitting,
is trained on 200 of scikit-learn's digits. Every --every images, the logits of the 200 training images and of the other
training digits, which the discriminator has not received, are compared: without augmentation the former rise above the
latter. The FID compares samples with the digits that were not trained on, by the classifier's features.

    python benchmarks/ada.py --out docs/results/style/ada.json --picture docs/images/ada_digits.png
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import matplotlib
import pytorch_lightning as pl
import torch
import yaml

from lightning_gen.cli.library_messages import filter_messages
from lightning_gen.data import ImageData
from lightning_gen.data.views import map_images
from lightning_gen.evaluation.extractors import classifier_splits, make_extractor
from lightning_gen.evaluation.scoring import score_samples
from lightning_gen.images import save_png, to_float
from lightning_gen.inference import isolated_inference
from lightning_gen.models.gans.style_gan2 import StyleGAN2

matplotlib.use("Agg")
from matplotlib import pyplot

ROOT = Path(__file__).parent.parent
NUM_IMAGES = 200
SIDE = 16


class Part:
    """The images of a set from the first one on."""

    def __init__(self, images, first):
        self.images, self.first = map_images(images, lambda stored: stored, f"without{first}"), first
        self.name, self.key, self.labels = self.images.name, self.images.key, images.labels[first:]

    def __len__(self):
        return len(self.images) - self.first

    def __getitem__(self, index):
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return self.images[start + self.first : stop + self.first : step]
        return self.images[index + self.first]


class Measure(pl.Callback):
    """Measures the discriminator's logits, ADA's probability and the FID every so many images."""

    def __init__(self, every, training, held_out, extractor):
        self.every, self.training, self.held_out, self.extractor = every, training, held_out, extractor
        self.points = []

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
        if model.images_seen >= self.every * len(self.points):
            self.points.append(self.measure(model))
            print({name: round(value, 3) for name, value in self.points[-1].items()}, flush=True)

    def measure(self, model):
        with isolated_inference(model, 0), torch.no_grad():
            real, held_out, fake = (
                model.discriminator(images)[:, 0].mean().item()
                for images in (
                    to_float(self.training[:]),
                    to_float(self.held_out[:NUM_IMAGES]),
                    model.sample(NUM_IMAGES, generator=torch.Generator().manual_seed(0)),
                )
            )
        card = score_samples(model, self.held_out, self.extractor, num_samples=len(self.held_out), band_draws=0, seed=1)
        return {
            "images_seen": model.images_seen,
            "training": real,
            "held_out": held_out,
            "generated": fake,
            "probability": model.augmentation_probability(),
            "fid": card.scores["fid"],
        }


def train(options, digits, augment):
    """Train on the first digits, and return the measured points."""
    training = digits.image_set("train")
    settings = yaml.safe_load((ROOT / "configs" / "stylegan2_digits.yaml").read_text())
    with tempfile.TemporaryDirectory() as folder:
        for i, image in enumerate(training[:NUM_IMAGES]):
            path = Path(folder) / "train" / f"{i:03}.png"
            path.parent.mkdir(exist_ok=True)
            save_png(image, path)
        pl.seed_everything(options.seed)
        data = ImageData(name="folder", root=folder, image_size=SIDE, batch_size=settings["data"]["batch_size"])
        data.prepare_data()
        adaptive: dict = {"gamma": options.gamma}
        if augment:
            adaptive |= {"augment": "ada", "ada_images": options.ada_images}
        model = StyleGAN2(image_shape=(1, SIDE, SIDE), **settings["model"]["init_args"] | adaptive)
        held_out = Part(training, NUM_IMAGES)
        extractor = make_extractor("classifier", labelled=classifier_splits(digits))
        measure = Measure(options.every, data.image_set("train"), held_out, extractor)
        trainer = pl.Trainer(
            max_steps=options.images // settings["data"]["batch_size"],
            max_epochs=-1,
            logger=False,
            callbacks=[measure],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, datamodule=data)
    return measure.points


def draw(runs, path):
    """One plot: logits without ADA, logits with ADA, FID and probability."""
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for axis, (name, points) in zip(axes, runs.items(), strict=False):
        for key in ("training", "held_out", "generated"):
            axis.plot(*zip(*((p["images_seen"], p[key]) for p in points), strict=True), label=key.replace("_", "-"))
        axis.set(title=f"logits, {name}", xlabel="images seen")
        axis.legend()
    low, high = min(axis.get_ylim()[0] for axis in axes[:2]), max(axis.get_ylim()[1] for axis in axes[:2])
    for axis in axes[:2]:
        axis.set_ylim(low, high)
    for name, points in runs.items():
        axes[2].plot(*zip(*((p["images_seen"], p["fid"]) for p in points[1:]), strict=True), label=f"FID, {name}")
    axes[2].set(title="FID against held-out digits", xlabel="images seen", yscale="log")
    axes[2].legend(loc="upper left")
    probability = axes[2].twinx()
    points = runs["with ADA"]
    probability.plot([p["images_seen"] for p in points], [p["probability"] for p in points], "k--", label="p of ADA")
    probability.set_ylim(0, 1)
    probability.legend(loc="upper right")
    figure.savefig(path, dpi=80)


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000, help="images seen by each of the two runs")
    parser.add_argument("--every", type=int, default=5_000, help="images between two measurements")
    parser.add_argument("--gamma", type=float, default=0.02, help="weight of R1")
    parser.add_argument("--ada_images", type=int, default=40_000, help="images over which p changes by 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file of the measurements")
    parser.add_argument("--picture", type=Path, help="PNG file of the plot")
    options = parser.parse_args()
    filter_messages()
    digits = ImageData(name="digits", image_size=SIDE)
    digits.prepare_data()
    runs = {name: train(options, digits, name == "with ADA") for name in ("without ADA", "with ADA")}
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        command = f"python benchmarks/ada.py --images {options.images} --ada_images {options.ada_images}"
        commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
        options.out.write_text(json.dumps({"command": command, "commit": commit, "runs": runs}, indent=1) + "\n")
    if options.picture:
        draw(runs, options.picture)


if __name__ == "__main__":
    run()
