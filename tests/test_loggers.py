"""The loggers: what metrics.csv and the file of an offline W&B run contain."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset
from wandb.proto import wandb_internal_pb2

from lightning_gen.errors import InputError
from lightning_gen.logger_types import MediaLogger
from lightning_gen.loggers import RunCSVLogger, WandbRunLogger
from lightning_gen.loggers.offline import sync_command

BATCH, BATCHES = 2, 5


class Toy(LightningModule):
    """Logs the loss 1 / n after n images, so that every figure is predictable."""

    def __init__(self, width: int = 7):
        super().__init__()
        self.save_hyperparameters()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.images_seen = 0

    def figure(self, name):
        self.log_dict({name: 1 / max(self.images_seen, 1), "images_seen": float(self.images_seen)}, batch_size=BATCH)

    def training_step(self, batch, batch_idx):
        self.images_seen += len(batch[0])
        self.figure("loss/total")
        return self.weight**2

    def validation_step(self, batch, batch_idx):
        self.figure("val_loss/total")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["images_seen"] = self.images_seen

    def on_load_checkpoint(self, checkpoint):
        self.images_seen = checkpoint["images_seen"]


@pytest.fixture(autouse=True)
def isolated_wandb(monkeypatch, tmp_path):
    """Hides the credentials, settings and caches of the user who runs the tests."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_RUN_ID", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "home" / name.lower()))
    wandb.teardown()
    yield
    wandb.teardown()


def fit(folder: Path, *loggers, epochs: int = 2, resume: bool = False) -> Trainer:
    loader = DataLoader(TensorDataset(torch.zeros(BATCH * BATCHES, 1)), BATCH)
    checkpoint = ModelCheckpoint(folder / "checkpoints", "best", monitor="val_loss/total", save_last=True)
    trainer = Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        callbacks=[checkpoint],
        accelerator="cpu",
        logger=list(loggers),
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    last = str(folder / "checkpoints" / "last.ckpt") if resume else None
    trainer.fit(Toy(), loader, loader, ckpt_path=last)
    return trainer


def records(file: Path) -> list[wandb_internal_pb2.Record]:
    """Read a .wandb file: a header of 7 bytes, then LevelDB's log format in blocks of 32 KiB."""
    content, position, parts, found = file.read_bytes(), 7, b"", []
    assert content[:4] == b":W&B"
    while position + 7 <= len(content):
        if 32768 - position % 32768 < 7:  # the rest of a block is padding
            position += 32768 - position % 32768
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # full, last
            found.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return found


def offline_runs(folder: Path) -> list[list[wandb_internal_pb2.Record]]:
    """The records of a folder's offline runs, after W&B's process has written them and ended."""
    wandb.teardown()
    return [records(file) for file in sorted((folder / "wandb").glob("offline-run-*/*.wandb"))]


def items(updates) -> dict:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}


def history(run) -> list[dict]:
    rows = [items(record.history.item) for record in run if record.HasField("history")]
    return [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows]


def figures(rows: list[dict], name: str) -> list[tuple[float, int]]:
    """(figure, images seen) of each row that has the figure, rounded from float32."""
    return [(round(float(row[name]), 6), int(row["images_seen"])) for row in rows if row.get(name) not in (None, "")]


TRAINED = [(round(1 / n, 6), n) for n in range(2, 21, 2)]
VALIDATED = [(round(1 / n, 6), n) for n in (10, 20)]


@pytest.fixture(scope="module")
def offline_run(tmp_path_factory):
    """A fit of two epochs with pictures and two score cards: its folder, its records and its sync command."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_API_KEY", raising=False)
        for name in ("CONFIG", "CACHE", "DATA"):
            patch.setenv(f"WANDB_{name}_DIR", str(folder / "home" / name.lower()))
        wandb.teardown()
        logger = WandbRunLogger(folder, name="toy", mode="offline")
        fit(folder, logger)
        logger.log_image("samples", [np.zeros((8, 9, 3), np.uint8)], step=20)
        logger.log_image("samples", [np.zeros((8, 9, 3), np.uint8)])
        logger.log_score_card({"protocol": "fid10k_train", "scores": {"fid": 3.5, "fid_std": 0.1}})
        logger.log_score_card({"protocol": "recon", "scores": {"mse": 0.25}}, key="reconstruction")
        command = logger.sync_command
        logger.close()
        [run] = offline_runs(folder)
    return folder, run, command


def test_every_figure_is_logged_once_with_images_seen(offline_run):
    _, run, _ = offline_run
    rows = history(run)
    assert figures(rows, "loss/total") == TRAINED
    assert figures(rows, "val_loss/total") == VALIDATED
    assert all("images_seen" in row for row in rows)
    assert all(isinstance(row["images_seen"], int) for row in rows)


def test_images_seen_is_the_axis_of_every_figure(offline_run):
    _, run, _ = offline_run
    metrics = [record.metric for record in run if record.HasField("metric")]
    assert {metric.step_metric for metric in metrics if metric.name != "images_seen"} == {"images_seen"}
    assert "*" in {metric.glob_name for metric in metrics}
    assert not any("global_step" in metric.name for metric in metrics)


def test_the_config_is_stored(offline_run):
    _, run, _ = offline_run
    config = {}
    for record in run:
        config |= items(record.config.update) | items(record.run.config.update)
    assert config["width"] == 7


def test_pictures_are_stored_with_images_seen(offline_run):
    folder, run, _ = offline_run
    pictures = [row for row in history(run) if any(name.startswith("samples") for name in row)]
    assert [row["images_seen"] for row in pictures] == [20, 20]
    assert len(list(folder.glob("wandb/offline-run-*/files/media/images/samples*.png"))) == 2


def test_score_cards_are_stored(offline_run):
    _, run, _ = offline_run
    summary = {}
    for record in run:
        summary |= items(record.summary.update)
    assert summary["score_card/fid"] == 3.5
    assert summary["score_card/fid_std"] == 0.1
    assert summary["reconstruction/mse"] == 0.25
    artifacts = {record.request.log_artifact.artifact.name for record in run if record.HasField("request")}
    artifacts |= {record.artifact.name for record in run if record.HasField("artifact")}
    [run_id] = {record.run.run_id for record in run if record.HasField("run")}
    assert {f"score_card-{run_id}", f"reconstruction-{run_id}", f"model-{run_id}"} <= artifacts


def test_only_the_best_checkpoint_is_stored(offline_run):
    _, run, _ = offline_run
    models = [record.artifact for record in run if record.artifact.type == "model"]
    assert len(models) == 1
    assert "best" in models[0].aliases
    assert [entry.path for entry in models[0].manifest.contents] == ["model.ckpt"]
    assert json.loads(models[0].metadata) == {"monitor": "val_loss/total", "score": pytest.approx(1 / 20)}


def test_the_sync_command_names_the_run(offline_run):
    folder, _, command = offline_run
    [run] = (folder / "wandb").glob("offline-run-*")
    assert command == f"wandb sync {run}"


def test_the_sync_command_is_one_line_however_often_a_run_was_resumed(tmp_path):
    assert sync_command(tmp_path) is None
    for number in range(3):
        folder = tmp_path / "a run" / "wandb" / f"offline-run-2026010{number}_000000-abc"
        folder.mkdir(parents=True)
        (folder / "run-abc.wandb").touch()
    run = tmp_path / "a run"
    command = sync_command(run)
    assert command == f"wandb sync '{run}/wandb'/offline-run-*"
    named = subprocess.run(["bash", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True).stdout
    assert named.splitlines()[2:] == [str(path) for path in sorted((run / "wandb").iterdir())]
    for path in sorted((run / "wandb").iterdir())[:2]:
        (path / "run-abc.wandb.synced").touch()
    assert sync_command(run) == f"wandb sync '{path.parent}/offline-run-20260102_000000-abc'"


def test_a_resumed_folder_resumes_its_run(tmp_path):
    ids, rows = [], []
    for epochs in (1, 2):
        csv_logger, logger = RunCSVLogger(tmp_path), WandbRunLogger(tmp_path, mode="offline")
        fit(tmp_path, csv_logger, logger, epochs=epochs, resume=epochs == 2)
        ids.append(logger.version)
        logger.close()
        rows += history(offline_runs(tmp_path)[-1])
    assert ids[0] == ids[1] == (tmp_path / "wandb" / "run-id").read_text()
    assert figures(rows, "loss/total") == TRAINED
    assert figures(rows, "val_loss/total") == VALIDATED

    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert figures(rows, "loss/total") == TRAINED
    assert figures(rows, "val_loss/total") == VALIDATED


def test_offline_without_credentials_and_quiet(tmp_path):
    """In a separate process, without credentials: no prompt and no output."""
    code = f"""
from lightning_gen.loggers import WandbRunLogger
logger = WandbRunLogger({str(tmp_path)!r})
logger.log_metrics({{"loss": 1.0, "images_seen": 4.0}}, step=1)
assert logger.experiment.settings.mode == "offline"
assert logger.sync_command and logger.url is None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    [run] = offline_runs(tmp_path)  # written at the end of the process
    assert figures(history(run), "loss") == [(1.0, 4)]


def test_credentials_mean_online_and_a_dead_server_offline(tmp_path, monkeypatch, recwarn):
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {'0' * 40}\n")
    modes, init = [], wandb.init

    def dead(mode, **options):
        modes.append(mode)
        if mode == "online":
            raise wandb.errors.CommError("no such host")
        return init(mode=mode, **options)

    monkeypatch.setattr(wandb, "init", dead)
    logger = WandbRunLogger(tmp_path)
    assert logger.experiment.settings.mode == "offline"
    logger.close()
    assert modes == ["online", "offline"]
    assert any("no such host" in str(warning.message) for warning in recwarn)


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_wandb_mode_is_respected(tmp_path, monkeypatch, mode):
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {'0' * 40}\n")
    monkeypatch.setenv("WANDB_MODE", mode)
    logger = WandbRunLogger(tmp_path)
    logger.log_metrics({"loss": 1.0, "images_seen": 4})
    assert logger.experiment.settings.mode == mode
    logger.close()


def test_a_new_folder_is_a_new_run(tmp_path):
    loggers = [WandbRunLogger(tmp_path / name, mode="offline") for name in "ab"]
    first, second = (logger.experiment.id for logger in loggers)
    assert first != second
    loggers[1].close()


def test_a_large_checkpoint_is_not_stored(tmp_path):
    logger = WandbRunLogger(tmp_path, mode="offline", max_checkpoint_gb=1e-9)
    with pytest.warns(UserWarning, match="not logged to W&B"):
        fit(tmp_path, logger, epochs=1)
    logger.close()
    [run] = offline_runs(tmp_path)
    assert not any(record.artifact.type == "model" for record in run)


def test_other_ranks_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_utilities.core.rank_zero.rank_zero_only.rank", 1)
    csv_logger, logger = RunCSVLogger(tmp_path), WandbRunLogger(tmp_path)
    _ = logger.experiment.anything
    for each in (csv_logger, logger):
        each.log_hyperparams({"width": 3})
        each.log_metrics({"loss": 1.0, "images_seen": 2.0}, step=1)
        each.finalize("success")
    logger.log_image("samples", [np.zeros((8, 8, 3), np.uint8)], step=2)
    logger.log_score_card({"scores": {"fid": 1.0}})
    assert list(tmp_path.iterdir()) == []


def test_which_loggers_take_pictures(tmp_path):
    assert isinstance(WandbRunLogger(tmp_path), MediaLogger)
    assert not isinstance(RunCSVLogger(tmp_path), MediaLogger)


def test_an_unwritable_folder_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*metrics.csv"):
        RunCSVLogger(tmp_path / "file").log_metrics({"loss": 1.0})
    with pytest.raises(InputError, match=r"cannot write .*run-id"):
        _ = WandbRunLogger(tmp_path / "file", mode="offline").experiment
