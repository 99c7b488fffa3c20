"""A run that is killed at random moments, against the same run without kills: weights, rows, pictures and scores.

python benchmarks/resume.py                                             # 50 kills of DCGAN on digits
python benchmarks/resume.py --kills 10 --steps 400 --config configs/vae_digits.yaml
python benchmarks/resume.py --devices 2 --kills 10                      # two processes, all killed at once

Each start is a process of its own, ended by SIGKILL: a tenth of the kills while it starts, the others at a random time
after its first row. The next start resumes with --ckpt_path last. Before the first checkpoint there is nothing to
resume, and the run starts again. Runs on the CPU with one thread per process. Exits with 1 if anything differs.
"""

import argparse
import csv
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
STATE = ("state_dict", "optimizer_states", "lr_schedulers", "progress", "loops")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(ROOT / "configs" / "dcgan_digits.yaml"))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=1000, help="training batches of the run")
    parser.add_argument("--every", type=int, default=7, help="training batches between two checkpoints")
    parser.add_argument("--devices", type=int, default=1, help="number of processes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments of the kills")
    parser.add_argument("options", nargs="*", help="further options of fit, after --")
    return parser.parse_args()


def start(args, runs, resume):
    """Start fit in a session of its own, so that all of its processes can be killed at once."""
    command = [sys.executable, "train.py", "fit", "--config", args.config, "--runs", str(runs), "--name", "run"]
    options = {
        "trainer.max_steps": args.steps,
        "trainer.max_epochs": -1,
        "trainer.accelerator": "cpu",
        "trainer.devices": args.devices,
        "trainer.log_every_n_steps": 1,
        "trainer.enable_progress_bar": "false",
        "last.every_n_train_steps": args.every,
        "wandb.mode": "disabled",
        **({"trainer.strategy": "ddp"} if args.devices > 1 else {}),
        **({"ckpt_path": "last"} if resume else {}),
    }
    command += [f"--{name}={value}" for name, value in options.items()] + args.options
    log = (runs.parent / f"{runs.name}.log").open("a")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment, start_new_session=True)


def finish(process, runs):
    if process.wait():
        raise SystemExit(f"fit ended with {process.returncode}; the end of its output:\n{tail(runs)}")


def tail(runs):
    return (runs.parent / f"{runs.name}.log").read_text()[-2000:]


def run_folder(runs):
    """The newest run's folder; None before there is one."""
    return max((runs / "run").glob("*"), default=None)


def changed(runs):
    """A value that changes when a process writes its first row."""
    folder = run_folder(runs)
    path = folder and folder / "metrics.csv"
    return path.stat().st_mtime_ns if path and path.exists() else 0


def rows(folder):
    """The rows of metrics.csv, without empty columns."""
    with (folder / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


def kill(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def killed_run(args, runs, seconds, table):
    """Run to the end with ``args.kills`` kills, ``seconds`` being the time that the whole run trained."""
    random.seed(args.seed)
    startup = 5.0
    for number in range(1, args.kills + 1):
        resume = any(runs.glob("run/*/checkpoints/last.ckpt"))
        before, began = changed(runs), time.monotonic()
        process = start(args, runs, resume)
        if random.random() < 0.1:
            delay, moment = random.uniform(0, startup), "while starting"
            time.sleep(delay)
        else:
            while changed(runs) == before and process.poll() is None:
                time.sleep(0.005)
            startup = time.monotonic() - began
            delay, moment = (
                random.uniform(0, 1.2 * seconds / (args.kills + 1)),
                "after the first row",
            )
            time.sleep(delay)
        ended = process.poll()
        kill(process)
        if ended:
            raise SystemExit(f"fit ended with {ended}; the end of its output:\n{tail(runs)}")
        folder = run_folder(runs)
        last = folder and folder / "checkpoints" / "last.ckpt"
        saved = torch.load(last, weights_only=True)["global_step"] if last and last.exists() else 0
        written = len(rows(folder)) if folder and (folder / "metrics.csv").exists() else 0
        table.add_row(str(number), f"{delay:.2f} s {moment}", str(written), str(saved))
        if ended == 0:
            table.add_row("", "the run ended before it was killed", "", "")
            return
    finish(start(args, runs, any(runs.glob("run/*/checkpoints/last.ckpt"))), runs)


def leaves(value, name=""):
    """The leaves of nested dictionaries and sequences, by their path."""
    if isinstance(value, dict):
        return {k: v for key, each in value.items() for k, v in leaves(each, f"{name}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for key, each in enumerate(value) for k, v in leaves(each, f"{name}/{key}").items()}
    return {name: value}


def compare(whole, killed):
    """Names of comparisons, with the number of differences and of things compared."""
    first, second = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (whole, killed))
    for key in STATE:
        ours, theirs = leaves(first[key]), leaves(second[key])
        names = ours.keys() | theirs.keys()
        yield key, sum(not equal(ours.get(name), theirs.get(name)) for name in names), len(names)
    ours, theirs = rows(whole), rows(killed)
    yield "rows of metrics.csv", sum(a != b for a, b in itertools.zip_longest(ours, theirs)), len(ours)
    for folder, pattern in (("samples", "*.png"), ("evaluation", "*.json")):
        names = {path.name for run in (whole, killed) for path in (run / folder).glob(pattern)}
        paths = [(whole / folder / name, killed / folder / name) for name in names]
        different = sum(not (a.exists() and b.exists() and content(a) == content(b)) for a, b in paths)
        yield f"{folder}/{pattern}", different, len(names)


def content(path):
    """A picture's bytes, or a score card without its date."""
    if path.suffix != ".json":
        return path.read_bytes()
    return {name: value for name, value in json.loads(path.read_text()).items() if name != "date"}


def equal(first, second):
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.equal(first, second)
    return type(first) is type(second) and first == second


def main():
    args = parse()
    console = Console()
    with tempfile.TemporaryDirectory() as place:
        whole, killed = Path(place) / "whole", Path(place) / "killed"
        process, began = start(args, whole, resume=False), None
        while process.poll() is None and began is None:
            began = time.monotonic() if changed(whole) else None
            time.sleep(0.01)
        finish(process, whole)
        seconds = time.monotonic() - began
        table = Table("kill", "moment", "rows", "last checkpoint", title=f"{args.steps} batches in {seconds:.0f} s")
        killed_run(args, killed, seconds, table)
        console.print(table)
        table = Table("compared", "number", "different")
        different = 0
        for name, num_different, num in compare(run_folder(whole), run_folder(killed)):
            different += num_different
            table.add_row(name, str(num), str(num_different))
        console.print(table)
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
