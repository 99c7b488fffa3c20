"""Checkpoints that are damaged or made to harm: nothing is run, imported or removed, and the answer is one line."""

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_gen.cache import remove_temporaries
from lightning_gen.callbacks.checkpoints import LastCheckpoint, keep_copies
from lightning_gen.cli import main
from lightning_gen.cli.checkpoint_io import RunCheckpointIO, own_paths
from lightning_gen.cli.resuming import check_resumable
from lightning_gen.errors import InputError
from lightning_gen.models import DCGAN, ProGAN
from lightning_gen.models.checkpoint import load_model, read_checkpoint
from tests.helpers import loader, trainer

ROOT = Path(__file__).parent.parent
OPTIONS = [
    "--model=DCGAN",
    "--model.width=4",
    "--data.batch_size=256",
    "--data.image_size=16",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--fidelity.every_n_epochs=1000",
    "--fidelity.num_samples=20",
    "--name=run",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def fit(place: Path, *options: str) -> int:
    return main(["fit", *OPTIONS, f"--runs={place / 'runs'}", f"--data.root={place / 'data'}", *options])


@pytest.fixture(autouse=True)
def _no_wandb(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture(scope="module")
def run(place, shared_cache) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        patch.setenv("LIGHTNING_GEN_CACHE", str(shared_cache))
        assert fit(place, "--trainer.max_epochs=1") == 0
    [folder] = (place / "runs" / "run").iterdir()
    return folder


@pytest.fixture
def saved(run) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def put(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of a nested entry."""

    def change(checkpoint: dict[str, Any]) -> None:
        entry: Any = checkpoint
        for key in keys[:-1]:
            entry = entry[key]
        entry[keys[-1]] = value

    return change


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda checkpoint: checkpoint.pop(key)


BATCHES = ("loops", "fit_loop", "epoch_loop.batch_progress")
NESTED: list[Any] = []
for _ in range(40):
    NESTED = [NESTED]
DAMAGE = {
    "class": put("model_class", value=7),
    "state": put("state_dict", value=[1, 2]),
    "state's values": put("state_dict", "discriminator.layers.0.weight", value="x"),
    "hyper-parameters": put("hyper_parameters", value="width=4"),
    "hyper-parameters' keys": put("hyper_parameters", 5, value=1),
    "depth": put("hyper_parameters", "width", value=NESTED),
    "progress": put("progress", value=3),
    "negative progress": put("progress", "images_seen", value=-1),
    "fractional progress": put("progress", "images_seen", value=1.5),
    "progress of text": put("progress", "batches_seen", value="many"),
    "huge progress": put("progress", "noise_seed", value=2**70),
    "epoch": put("epoch", value="first"),
    "step": put("global_step", value=None),
    "version": put("pytorch-lightning_version", value=2),
    "callbacks": put("callbacks", value=[1]),
    "a callback's state": put("callbacks", "Fidelity", value="seed"),
    "loops": put("loops", value={}),
    "a loop": put("loops", "fit_loop", value=[]),
    "a loop's entries": put("loops", "fit_loop", "more", value={}),
    "a loop's count": put(*BATCHES, "total", "ready", value="three"),
    "a loop's negative count": put(*BATCHES, "current", "completed", value=-4),
    "a loop's switch": put(*BATCHES, "is_last_batch", value=5),
    "the loaders": put("loops", "fit_loop", "state_dict", "combined_loader", value=7),
    "a loader": put("loops", "fit_loop", "state_dict", "combined_loader", value=[7]),
    "optimizers": put("optimizer_states", value={}),
    "an optimizer": put("optimizer_states", 0, value={"state": []}),
    "a rate": put("optimizer_states", 0, "param_groups", 0, "lr", value=float("nan")),
    "a rate of text": put("optimizer_states", 0, "param_groups", 0, "lr", value="fast"),
    "schedules": put("lr_schedulers", value=[3]),
    "the loggers' position": put("log", value={"rows": -1, "row": {}, "step": 0}),
    "a row of text": put("log", "row", value={"loss": "x"}),
    "an alert that is a number": put("log", "row", value={"watchdog": 1}),
    "terms of text": put("last_terms", value={"generator": "x"}),
    "buffers of ranks": put("rank_buffers", value=[3]),
    "no loops": without("loops"),
    "no progress": without("progress"),
    "no optimizers": without("optimizer_states"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_line_that_names_the_file(name, saved, tmp_path):
    DAMAGE[name](saved)
    path = tmp_path / "damaged.ckpt"
    torch.save(saved, path)
    runner = trainer(callbacks=[LastCheckpoint()], enable_checkpointing=True)
    with pytest.raises(InputError, match=r"^\S+damaged\.ckpt [^\n]{1,200}$"):
        check_resumable(path, read_checkpoint(path), runner)


RESTORED_LATE = {
    "a moment of another shape": put("optimizer_states", 0, "state", 0, "exp_avg", value=torch.zeros(3)),
    "a missing optimizer": lambda checkpoint: checkpoint["optimizer_states"].pop(),
    "the parameters of an optimizer": put("optimizer_states", 0, "param_groups", 0, "params", value="all"),
    "the watchdog's baselines": put("callbacks", "Watchdog", "levels", value={"chance": "x"}),
    "the watchdog's measurements": put("callbacks", "Watchdog", "detector", value={"history": {}}),
    "the watchdog's entries": put("callbacks", "Watchdog", value={"levels": 3}),
}


@pytest.mark.parametrize("name", RESTORED_LATE)
def test_what_only_a_run_can_notice_is_one_line_too(name, run, saved, place, tmp_path, capsys):
    RESTORED_LATE[name](saved)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save(saved, path)
    assert fit(place, f"--ckpt_path={path}", "--trainer.max_epochs=2") == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(line) < 400


def test_the_same_checkpoint_undamaged_resumes(saved, place, tmp_path):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save(saved, path)
    assert fit(place, f"--ckpt_path={path}", "--trainer.max_epochs=2") == 0


HYPER_PARAMETERS = [("width", "wide"), ("latent_dim", None), ("image_shape", (1, 16)), ("hidden", 5), ("unknown", 1)]


@pytest.mark.parametrize(("name", "value"), HYPER_PARAMETERS)
def test_hyper_parameters_of_any_value_are_one_line(name, value, saved, tmp_path):
    saved["hyper_parameters"][name] = value
    path = tmp_path / "a.ckpt"
    torch.save(saved, path)
    with pytest.raises(InputError, match=r"a\.ckpt does not fit "):
        load_model(path)


def test_no_module_is_imported_to_refuse_a_class(saved, tmp_path, monkeypatch):
    (tmp_path / "evil_models.py").write_text(f"open(r'{tmp_path / 'sprung'}', 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("evil_models.X", "os.system", "torch.nn.Linear", "lightning_gen.models.gans.dcgan.Nothing", "x", ""):
        path = tmp_path / "a.ckpt"
        torch.save(saved | {"model_class": name}, path)
        with pytest.raises(InputError, match="not a model of lightning_gen"):
            load_model(path)
    assert not (tmp_path / "sprung").exists()
    assert "evil_models" not in sys.modules


def test_a_module_that_the_user_trusts_is_imported(saved, tmp_path, monkeypatch, capsys):
    (tmp_path / "trusted_models.py").write_text(
        "from lightning_gen.models import DCGAN\n\n\nclass WideGAN(DCGAN):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "a.ckpt"
    torch.save(saved | {"model_class": "trusted_models.WideGAN"}, path)
    command = ["sample", "--ckpt", str(path), "--num", "2", "--out", str(tmp_path / "samples")]
    assert main(command) == 2
    assert "LIGHTNING_GEN_IMPORT" in capsys.readouterr().err
    monkeypatch.setenv("LIGHTNING_GEN_IMPORT", "nowhere_models")
    assert main(command) == 2
    assert capsys.readouterr().err.startswith("error: LIGHTNING_GEN_IMPORT names nowhere_models, which cannot be")
    monkeypatch.setenv("LIGHTNING_GEN_IMPORT", "trusted_models")
    assert main(command) == 0


def test_nothing_outside_the_runs_checkpoints_is_removed(run, saved, place, tmp_path):
    """Lightning removes recursively what a callback's state names as its previous checkpoint."""
    victim = tmp_path / "victim.ckpt"
    victim.mkdir()
    (victim / "thesis.tex").write_text("years of work")
    outside = tmp_path / "outside.ckpt"
    outside.write_text("weights")
    states = [state for state in saved["callbacks"].values() if "best_model_path" in state]
    for state, best, kth in zip(
        states, (f"local://{victim}", "../../../outside.ckpt"), (str(victim), str(outside)), strict=True
    ):
        state |= {"best_model_path": best, "kth_best_model_path": kth, "last_model_path": best}
        state |= {"best_k_models": {kth: torch.tensor(1.0)}, "dirpath": str(tmp_path)}
    target = tmp_path / "run" / "checkpoints" / "last.ckpt"
    target.parent.mkdir(parents=True)
    torch.save(saved, target)
    options = ["--last.every_n_epochs=1", "--fidelity.every_n_epochs=1", "--trainer.max_epochs=2"]
    assert fit(place, f"--ckpt_path={target}", *options) == 0
    assert (victim / "thesis.tex").read_text() == "years of work"
    assert outside.read_text() == "weights"


def test_the_paths_of_a_moved_run_are_those_of_its_new_place(run, saved, tmp_path):
    folder = tmp_path / "moved" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("best.ckpt", "last.ckpt"):
        (folder / name).touch()
    score = torch.tensor(2.0)
    state = {
        "best_model_path": "/old/checkpoints/best.ckpt",
        "kth_best_model_path": "C:\\old\\checkpoints\\best.ckpt",
        "last_model_path": "/old/checkpoints/gone.ckpt",
        "best_k_models": {"/old/checkpoints/best.ckpt": score},
        "best_model_score": score,
        "current_score": "none",
        "kth_value": score,
        "monitor": "fidelity/fid",
        "dirpath": "/old/checkpoints",
    }
    best = str(folder / "best.ckpt")
    assert own_paths(state, folder) == {
        "best_model_path": best,
        "kth_best_model_path": best,
        "last_model_path": "",
        "best_k_models": {best: score},
        "best_model_score": score,
        "current_score": None,
        "kth_value": score,
        "monitor": "fidelity/fid",
        "dirpath": str(folder),
    }
    assert own_paths(state, tmp_path)["best_model_path"] == ""
    assert own_paths({"seed": 3}, folder) == {"seed": 3}


def test_only_a_file_of_a_runs_checkpoints_is_ever_removed(tmp_path):
    folder = tmp_path / "checkpoints"
    (folder / "folder.ckpt").mkdir(parents=True)
    for name in ("last.ckpt", "notes.txt", "../outside.ckpt"):
        (folder / name).touch()
        RunCheckpointIO().remove_checkpoint(folder / name)
    RunCheckpointIO().remove_checkpoint(folder / "folder.ckpt")
    assert {path.name for path in tmp_path.rglob("*")} == {"checkpoints", "folder.ckpt", "notes.txt", "outside.ckpt"}


def test_a_full_disk_leaves_the_old_checkpoint_and_one_line(saved, tmp_path):
    path = tmp_path / "last.ckpt"
    io = RunCheckpointIO()
    io.save_checkpoint(saved, path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(InputError, match=r"^cannot write \S+last\.ckpt: File too large"):
            io.save_checkpoint(saved, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_write_leaves_the_old_checkpoint_and_nothing_else_after_the_next_start(tmp_path):
    """Also where the folder for temporary files is on another file system, from which a move is a copy."""
    script = f"""
import torch
from lightning_gen.cli.checkpoint_io import RunCheckpointIO
print("ready", flush=True)
while True:
    RunCheckpointIO().save_checkpoint({{"weights": torch.zeros(2**20)}}, r"{tmp_path / "last.ckpt"}")
    print("saved", flush=True)
"""
    memory = Path("/dev/shm")
    elsewhere = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    command = [sys.executable, "-c", script]
    variables = {**os.environ, "TMPDIR": str(elsewhere)}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "saved":
                break
        while not list(tmp_path.glob(".*.tmp")):  # in the middle of a write
            pass
        process.kill()
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["weights"].shape == (2**20,)
    remove_temporaries(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    assert not [path for path in elsewhere.rglob("*") if path.is_file()]
    shutil.rmtree(elsewhere)


def test_what_killed_processes_left_is_removed_at_the_next_start(tmp_path):
    finished = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    stray = tmp_path / f".last.ckpt.{finished.stdout.strip()}.tmp"
    others = [tmp_path / name for name in (f".last.ckpt.{os.getppid()}.tmp", "last.ckpt", ".mine.tmp", "a.1.tmp")]
    for path in (stray, *others):
        path.touch()
    remove_temporaries(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_saved_configuration_trains_in_a_folder_of_its_own(run, place):
    """The files of a finished run keep their hashes."""

    def hashes() -> dict[Path, str]:
        return {path: hashlib.md5(path.read_bytes()).hexdigest() for path in run.rglob("*") if path.is_file()}

    before = hashes()
    assert main(["fit", "--config", str(run / "config.yaml"), "--trainer.max_epochs=1"]) == 0
    assert hashes() == before
    assert len(list((place / "runs" / "run").iterdir())) == 2


def test_the_run_folder_is_no_option_of_the_trainer(place, tmp_path, capsys):
    assert fit(place, f"--trainer.default_root_dir={tmp_path / 'x'}") == 2
    assert "--runs" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_last_checkpoints_are_kept_on_request(tmp_path):
    callbacks = [LastCheckpoint(every_n_train_steps=1, keep=2)]
    runner = trainer(callbacks=callbacks, default_root_dir=tmp_path, enable_checkpointing=True)
    runner.fit(DCGAN((1, 16, 16), width=4), loader(4, size=8))
    [last] = tmp_path.rglob("last.ckpt")
    assert sorted(path.name for path in last.parent.iterdir()) == [
        "images_000000000024.ckpt",
        "images_000000000032.ckpt",
        "last.ckpt",
    ]
    seen = [torch.load(path, weights_only=True)["progress"]["images_seen"] for path in sorted(last.parent.iterdir())]
    assert seen == [24, 32, 32]


def test_copies_are_made_where_links_are_not_possible(tmp_path, monkeypatch):
    def refuse(*paths: Path) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "last.ckpt"
    for images in (8, 16, 24):
        path.write_text(str(images))
        keep_copies(path, images, 2)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "last.ckpt": "24",
        "images_000000000016.ckpt": "16",
        "images_000000000024.ckpt": "24",
    }


def test_the_progress_of_another_class_is_refused(tmp_path):
    model = ProGAN((1, 8, 8), channel_base=16)
    runner = trainer()
    runner.fit(model, loader(1, shape=(1, 8, 8)))
    runner.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert "trained_level" in checkpoint["progress"]
    del checkpoint["progress"]["trained_level"]
    with pytest.raises(InputError, match="trained_level"):
        model.on_load_checkpoint(checkpoint)
    checkpoint["progress"]["__class__"] = 3
    with pytest.raises(InputError, match="__class__"):
        model.on_load_checkpoint(checkpoint)
    assert isinstance(model.network, torch.nn.Module)
    assert all(isinstance(value, Tensor) for value in model.state_dict().values())
