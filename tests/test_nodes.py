"""Several processes as users start them: torchrun on two nodes, a rank that dies, ranks that are killed and resumed."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

from tests.test_cli import CONFIGS, ROOT, TINY, rows_of

TIMEOUT = 60
"""Seconds within which a job must notice a dead rank."""


def start_nodes(place: Path, *options: str) -> list[subprocess.Popen]:
    """Start torchrun on two nodes of one process each; both nodes are this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1"]
    address = ["--master_addr=127.0.0.1", f"--master_port={port}"]
    place_options = [f"--runs={place / 'runs'}", f"--data.root={place / 'data'}", "--name=nodes"]
    command = ["train.py", "fit", f"--config={CONFIGS / 'vae_digits.yaml'}", *place_options, *options]
    trainer = ["--trainer.devices=1", "--trainer.num_nodes=2", "--trainer.max_epochs=-1", "--fidelity.features=null"]
    every = ["--last.every_n_train_steps=1", "--trainer.log_every_n_steps=1", "--wandb.mode=disabled"]
    return [
        subprocess.Popen(
            [*launch, f"--node_rank={node}", *address, *command, *TINY, *trainer, *every],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for node in range(2)
    ]


def workers(node: subprocess.Popen) -> list[int]:
    """The processes that a node's torchrun has started, each in a session of its own."""
    return [int(pid) for pid in Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()]


def wait_for(path: Path, process: subprocess.Popen) -> Path:
    """Wait for a file that matches a pattern."""
    deadline = time.monotonic() + 300
    while not (found := sorted(path.parent.parent.glob(f"*/checkpoints/{path.name}"))):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found[0]


def test_a_job_of_two_nodes_ends_when_one_dies_and_resumes(tmp_path):
    nodes = start_nodes(tmp_path, "--trainer.max_steps=1000000")
    last = wait_for(tmp_path / "runs" / "nodes" / "*" / "last.ckpt", nodes[0])
    started = workers(nodes[0]) + workers(nodes[1])
    os.kill(started[1], signal.SIGKILL)
    try:
        for node in nodes:
            output, _ = node.communicate(timeout=TIMEOUT)
            assert node.returncode not in (0, None), output
    finally:
        for pid in (*(node.pid for node in nodes), *started):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    saved = torch.load(last, weights_only=True)["global_step"]
    nodes = start_nodes(tmp_path, f"--trainer.max_steps={saved + 3}", "--ckpt_path=last")
    for node in nodes:
        output, _ = node.communicate(timeout=300)
        assert node.returncode == 0, output
    assert not any(words in output for words in ("sync_dist", "is not empty", "callbacks used", "val_dataloader"))
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["global_step"] == saved + 3
    assert [int(row["step"]) for row in rows_of(last.parent.parent) if row["loss/total"]] == list(range(saved + 3))
