"""Scores a run's checkpoint and records the result, with its commands and a picture, for the pages of results.

python benchmarks/record.py --run runs/dcgan_digits --page gans --seconds 143
python benchmarks/record.py --run runs/edm_digits --page diffusion --draws 3 --options "--steps 18"
python benchmarks/record.py --run runs/srresnet_bsds --page super_resolution --name srresnet_bsds_set5 --no_picture \
    --run_name srresnet_bsds --metrics --options="--reference /data/Set5" --shown="--reference DIR/Set5"

The record is docs/results/<page>/<name>.json: the commands, the commit, the CPU seconds of training, the watchdog's
reports and the score card. The picture is docs/images/<name>.png, enlarged to 512 pixels or more.
benchmarks/results.py writes the pages from the records.
"""

import argparse
import csv
import json
import shlex
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch

from lightning_gen.callbacks.grids import SampleGrid
from lightning_gen.callbacks.translations import TranslationGrid
from lightning_gen.cli import main
from lightning_gen.cli.checkpoint_data import dataset_of
from lightning_gen.images import grid, row_pairs, save_png, to_float, to_uint8
from lightning_gen.inference import isolated_inference
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.types import ImageGenerator, IterativeModel, Translator, TwoPlayers

ROOT = Path(__file__).parent.parent
MIN_WIDTH = 512
COLUMNS = 8


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run's folder, or the folder of a name's runs")
    parser.add_argument("--page", required=True, help="the page of results: gans, autoencoders, diffusion ...")
    parser.add_argument("--name", help="name of the record; the run's name by default")
    parser.add_argument("--run_name", help="the run's name in the commands; the record's name by default")
    parser.add_argument("--config", help="name of the configuration; the record's name by default")
    parser.add_argument("--overrides", default="", help="further options of the training command")
    parser.add_argument("--options", default="", help="further options of evaluate")
    parser.add_argument("--shown", help="the options of evaluate as the record shows them; as they are by default")
    parser.add_argument("--metrics", nargs="*", default=["fid", "prc"])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--seconds", type=float, help="CPU seconds of the training, with its scores and pictures")
    parser.add_argument("--no_picture", action="store_true", help="for photographs' reconstructions and failed runs")
    parser.add_argument("--no_score", action="store_true", help="record the watchdog's reports alone")
    options = parser.parse_args()
    newest = find_checkpoint(options.run, ("last",))
    folder = newest.parent.parent
    name = options.name or folder.parent.name
    run_name = options.run_name or name
    card, evaluation = (None, None) if options.no_score else score(newest, run_name, options)
    config = f"configs/{options.config or run_name}.yaml"
    renamed = f" --name {run_name}" if options.config else ""
    record = {
        "training": f"python train.py fit --config {config}{renamed} {options.overrides}".strip(),
        "evaluation": evaluation,
        "commit": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip(),
        "cpu_seconds": options.seconds,
        "adversarial": isinstance(load_model(newest), TwoPlayers),
        "watchdog": reports(folder),
        "picture": None if options.no_picture else f"{name}.png",
        "card": card,
    }
    path = ROOT / "docs" / "results" / options.page / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    if not options.no_picture:
        save_png(enlarge(picture(newest)), ROOT / "docs" / "images" / f"{name}.png")
    print(f"{path.relative_to(ROOT)}: {record['training']}")


def score(checkpoint, name, options):
    """The score card of a checkpoint, and the command that makes it, with the name of the record as that of the run."""
    arguments = ["--metrics", *options.metrics] if options.metrics else []
    if isinstance(load_model(checkpoint), ImageGenerator | IterativeModel):
        arguments += ["--draws", str(options.draws)]
    given, shown = ([*arguments, *shlex.split(text)] for text in (options.options, options.shown or options.options))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "card.json"
        if main(["evaluate", "--ckpt", str(checkpoint), *given, "--out", str(out)]):
            raise SystemExit(f"{checkpoint} was not scored")
        card = json.loads(out.read_text())
    card["checkpoint"] = f"runs/{name}/checkpoints/{checkpoint.name}"
    return card, shlex.join(["python", "evaluate.py", "--ckpt", card["checkpoint"], *shown])


def reports(folder):
    """The watchdog's messages in a run's metrics.csv."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [line["watchdog"] for line in csv.DictReader(file) if line.get("watchdog")]


def picture(checkpoint):
    """Samples, or validation inputs above their translations, or test images above their reconstructions."""
    model = load_model(checkpoint)
    if isinstance(model, ImageGenerator):
        return SampleGrid().draw(None, model)
    data = dataset_of(checkpoint, None)
    if isinstance(model, Translator):
        plugin = SimpleNamespace(convert_input=lambda batch: batch)
        with isolated_inference(model, 0):
            return TranslationGrid().draw(SimpleNamespace(datamodule=data, precision_plugin=plugin), model)
    images = data.image_set("test")
    real = images[: 4 * COLUMNS]
    labels = None if images.labels is None else torch.from_numpy(images.labels[: 4 * COLUMNS])
    return grid(row_pairs(real, to_uint8(model.reconstruct(to_float(real), labels=labels)), COLUMNS), COLUMNS)


def enlarge(image):
    """Repeat pixels until the picture is at least ``MIN_WIDTH`` wide."""
    factor = -(-MIN_WIDTH // image.shape[-1])
    return image.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


if __name__ == "__main__":
    run()
