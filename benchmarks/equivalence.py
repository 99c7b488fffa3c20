"""Proves that a refactoring changed no number: seeded losses, samples and sizes of every model in two checkouts.

For every row and variant of tests/cases.py, and for every ``*_digits`` config, 20 batches are trained on one thread.
The losses of each batch, a checksum of the samples (or reconstructions) and the number of parameters must be identical.
Each checkout runs in a process of its own, so that both can be imported.

    git worktree add ../before main
    python benchmarks/equivalence.py ../before .            # compare two checkouts
    python benchmarks/equivalence.py --record after.json    # write this checkout's numbers
    python benchmarks/equivalence.py before.json after.json
"""

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

BATCHES = 20
SCRIPT = Path(__file__).resolve()


def checksum(images: torch.Tensor) -> str:
    return hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()[:16]


def facts_of(model, images: torch.Tensor, losses: list[dict[str, float]]) -> dict:
    """The numbers of a trained model that must not change."""
    from lightning_gen.noise import image_generators

    if hasattr(model, "sample"):
        images = model.sample(4, generator=image_generators(3, range(4)))
    else:
        images = model.reconstruct(images)
    return {
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "samples": checksum(images),
        "losses": losses,
    }


def record_row(case, variant: int) -> dict:
    import pytorch_lightning as pl

    from tests.helpers import loader, trainer

    losses: list[dict[str, float]] = []

    class Recorder(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            losses.append({name: float(value) for name, value in trainer.callback_metrics.items()})

    pl.seed_everything(0)
    model = case.build(variant)
    trainer(callbacks=[Recorder()], log_every_n_steps=1).fit(model, loader(num=BATCHES))
    return facts_of(model, next(iter(loader(size=4))).images, losses)


def record_config(path: Path, folder: Path) -> dict:
    from lightning_gen.cli import main
    from lightning_gen.models.checkpoint import load_model

    options = [
        f"--config={path}",
        f"--runs={folder}",
        f"--trainer.limit_train_batches={BATCHES}",
        "--trainer.max_epochs=1",
        "--trainer.limit_val_batches=0",
        "--trainer.log_every_n_steps=1",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--fidelity.features=null",
        "--samples.every_n_epochs=1000",
        "--interpolation.every_n_epochs=1000",
    ]
    if main(["fit", *options]):
        raise SystemExit(f"{path} was not trained")
    [run] = (folder / path.stem).iterdir()
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [{name: value for name, value in row.items() if name.startswith("loss/") and value} for row in rows]
    model = load_model(run / "checkpoints" / "last.ckpt")
    generator = torch.Generator().manual_seed(0)
    return facts_of(model, torch.rand(4, *model.image_shape, generator=generator) * 2 - 1, losses)


def record(target: Path, only: str) -> None:
    """Write the numbers of the checkout in the current folder."""
    from tests.cases import CASES

    torch.set_num_threads(1)
    facts = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            for variant in range(len(case.variants)):
                if only in (name := f"{case.model.__name__}-{variant}"):
                    facts[name] = record_row(case, variant)
        for path in sorted(Path("configs").glob("*_digits.yaml")):
            if only in path.stem:
                facts[path.stem] = record_config(path, Path(folder))
    target.write_text(json.dumps(facts, indent=1))


def numbers_of(source: str, only: str) -> dict:
    """Numbers that were recorded, or that a checkout gives now."""
    if source.endswith(".json"):
        return {name: value for name, value in json.loads(Path(source).read_text()).items() if only in name}
    checkout = Path(source).resolve()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "facts.json"
        environment = {
            **os.environ,
            "PYTHONPATH": str(checkout),
            "WANDB_MODE": "disabled",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        command = [sys.executable, str(SCRIPT), "--record", str(target), "--only", only]
        subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
        return json.loads(target.read_text())


def compare(before: dict, after: dict) -> int:
    """Print every difference, and return their number."""
    differences = [f"{name}: only {'before' if name in before else 'after'}" for name in before.keys() ^ after.keys()]
    for name in sorted(before.keys() & after.keys()):
        for key in ("parameters", "samples"):
            if before[name][key] != after[name][key]:
                differences.append(f"{name}: {key} {before[name][key]} -> {after[name][key]}")
        pairs = list(zip(before[name]["losses"], after[name]["losses"], strict=False))
        if len(before[name]["losses"]) != len(after[name]["losses"]):
            differences.append(f"{name}: {len(before[name]['losses'])} -> {len(after[name]['losses'])} rows of losses")
        for batch, (old, new) in enumerate(pairs):
            if old != new:
                differences.append(f"{name}: losses of batch {batch}: {old} -> {new}")
                break
    print("\n".join(differences) or f"identical: {len(before)} models, {BATCHES} batches each")
    return len(differences)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", help="two checkouts, or files of recorded numbers")
    parser.add_argument("--record", type=Path, help="write the current checkout's numbers to this file")
    parser.add_argument("--only", default="", help="only the rows and configs whose name contains this")
    options = parser.parse_args()
    if options.record:
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
        record(options.record, options.only)
        return 0
    if len(options.checkouts) != 2:
        parser.error("name two checkouts, or two files of recorded numbers")
    before, after = (numbers_of(source, options.only) for source in options.checkouts)
    return 1 if compare(before, after) else 0


if __name__ == "__main__":
    raise SystemExit(main())
