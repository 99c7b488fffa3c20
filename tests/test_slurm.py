"""The SLURM job, with stand-ins for SLURM's commands."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "slurm.sbatch"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.fixture
def submit(tmp_path):
    """Starts the job; ``srun`` records its arguments, waits for a file or a signal, and exits with a code."""
    commands = {
        "srun": 'echo "$@" >> srun.log; trap "sleep 0.2; exit 143" TERM USR1; '
        "while [ ! -e code ]; do sleep 0.05; done; exit $(cat code)",
        "scontrol": 'echo "$@" >> scontrol.log',
    }
    (tmp_path / "bin").mkdir()
    for name, text in commands.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS_PER_NODE": "8", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "4"}
    environment = {**os.environ, **job, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def start(*options: str) -> subprocess.Popen:
        command = ["bash", str(SCRIPT), "configs/vae_mnist.yaml", *options]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)

    return start


def test_a_job_that_ends_is_not_requeued(submit, tmp_path):
    (tmp_path / "code").write_text("0")
    assert submit("--model.width", "8").wait(20) == 0
    command = (tmp_path / "srun.log").read_text()
    for words in ("--trainer.devices 8 --trainer.num_nodes 2", "--name vae_mnist-7", "--model.width 8"):
        assert words in command
    assert "ckpt_path" not in command
    assert not (tmp_path / "scontrol.log").exists()
    (tmp_path / "code").write_text("1")
    assert submit().wait(20) == 1
    assert not (tmp_path / "scontrol.log").exists()


def test_a_preempted_job_waits_for_the_checkpoint_requeues_itself_and_resumes(submit, tmp_path):
    job = submit()
    while not (tmp_path / "srun.log").exists():
        time.sleep(0.05)
    time.sleep(0.2)
    os.killpg(job.pid, signal.SIGTERM)  # to the tasks and to the script, as SLURM does
    assert job.wait(20) == 143
    assert (tmp_path / "scontrol.log").read_text().split() == ["requeue", "7"]
    checkpoints = tmp_path / "runs" / "vae_mnist-7" / "2026-01-01_00-00-00" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "last.ckpt").touch()
    (tmp_path / "code").write_text("0")
    assert submit().wait(20) == 0
    assert "--ckpt_path last" in (tmp_path / "srun.log").read_text().splitlines()[1]
