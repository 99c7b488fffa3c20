"""Scores of a style-based generator by the psi of its truncation.

Each psi is scored by evaluate.py with the same sample seeds, and a sheet of the same latents shows one row per psi.

    python benchmarks/truncation.py --ckpt runs/stylegan2_digits --out docs/results/style/truncation.json \
        --picture docs/images/truncation_digits.png
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import torch

from lightning_gen.cli import main
from lightning_gen.images import grid, save_png, to_uint8
from lightning_gen.inference import isolated_inference
from lightning_gen.models.checkpoint import find_checkpoint, load_model

ROOT = Path(__file__).parent.parent
SCORES = ("fid", "precision", "recall")
COLUMNS = 12
ENLARGED = 3


def scores_at(checkpoint, psi, options):
    """The score card at one psi."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "card.json"
        arguments = ["--metrics", "fid", "prc", "--draws", str(options.draws), "--truncation", str(psi)]
        if main(["evaluate", "--ckpt", str(checkpoint), *arguments, "--out", str(out)]):
            raise SystemExit(f"{checkpoint} was not scored")
        return json.loads(out.read_text())


def sheet(checkpoint, values):
    """One row per psi, of the same latents."""
    model = load_model(checkpoint)
    with isolated_inference(model, 0):
        latents = model.sample_latents(COLUMNS, generator=torch.Generator().manual_seed(0))
        rows = []
        for model.truncation in values:
            rows.append(model.decode(latents))
    image = grid(to_uint8(torch.cat(rows)), COLUMNS)
    return image.repeat_interleave(ENLARGED, -1).repeat_interleave(ENLARGED, -2)


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path, required=True, help="a checkpoint, or a run's folder (its last one)")
    parser.add_argument("--psi", type=float, nargs="+", default=[1.0, 0.9, 0.8, 0.7, 0.5, 0.3])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file of the scores")
    parser.add_argument("--picture", type=Path, help="PNG file of the sheet")
    options = parser.parse_args()
    checkpoint = find_checkpoint(options.ckpt, ("last",))
    rows = []
    for psi in options.psi:
        card = scores_at(checkpoint, psi, options)
        rows.append({"psi": psi} | {name: (card["scores"][name], card["spread"].get(name)) for name in SCORES})
        print(rows[-1], flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        run = checkpoint.parent.parent.parent.name
        command = f"python benchmarks/truncation.py --ckpt runs/{run} --draws {options.draws}"
        commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
        record = {"command": command, "commit": commit, "protocol": card["protocol"]["fid"], "rows": rows}
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    if options.picture:
        save_png(sheet(checkpoint, options.psi), options.picture)


if __name__ == "__main__":
    run()
