"""The loggers of a run: a CSV file in the run's folder, and Weights & Biases.

The axis of every figure is ``images_seen``, the number of images that the model was trained on. Models log it with
their figures; pictures, learning rates and other values that are logged without it get its last value.
"""

import csv
import json
import netrc
import os
import re
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import wandb
from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_only, rank_zero_warn
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import Logger

from lightning_gen.cache import atomic
from lightning_gen.errors import InputError
from lightning_gen.lightning_compat import (
    get_wandb_run,
    set_wandb_run,
    state_without_wandb_run,
    wandb_init_options,
)

AXIS = "images_seen"


class _Axis:
    """Adds ``images_seen`` to rows of figures."""

    def __init__(self) -> None:
        self.images_seen: int | None = None

    def add_to(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The figures with ``images_seen`` first, rounded because Lightning may have averaged it."""
        if AXIS in metrics:
            self.images_seen = round(float(metrics[AXIS]))
        axis = {} if self.images_seen is None else {AXIS: self.images_seen}
        return axis | {name: value for name, value in metrics.items() if name != AXIS}


class RunCSVLogger(Logger):
    """Writes ``<run>/metrics.csv``: one line per call, one column per figure, ``images_seen`` first.

    Each line is on disk when the call returns. A resumed run goes on after the lines of its checkpoint, where
    Lightning's ``CSVLogger`` deletes the file. Hyper-parameters are not written: they are in ``config.yaml``.

    Args:
        run_folder: the run's folder; created with the first line.
    """

    def __init__(self, run_folder: str | Path) -> None:
        super().__init__()
        self.path = Path(run_folder) / "metrics.csv"
        self._columns: list[str] = []
        self._axis = _Axis()
        self.num_rows = len(self._read()[1])

    @property
    def name(self) -> str:
        """Empty: the run is identified by its folder."""
        return ""

    @property
    def version(self) -> str:
        """Empty: the run is identified by its folder."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @property
    def log_dir(self) -> str:
        """The run's folder."""
        return self.save_dir

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append a line.

        Args:
            metrics: figures by name.
            step: Lightning's number of training batches.

        Raises:
            InputError: when the file cannot be written.
        """
        row = self._axis.add_to(metrics) | ({} if step is None else {"step": step})
        if not row.keys() <= set(self._columns):
            self._add_columns(row)
        try:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from None
        self.num_rows += 1

    @rank_zero_only
    def rewind(self, num_rows: int) -> None:
        """Discard the lines after the first ``num_rows``, which the run writes again.

        Args:
            num_rows: number of lines that a checkpoint was saved with.
        """
        columns, lines = self._read()
        if num_rows < len(lines):
            self._write(columns, lines[:num_rows])
            self.num_rows = num_rows

    def log_alert(self, title: str, text: str) -> None:
        """Append a line with the text in the column ``watchdog``; the title is part of the text."""
        self.log_metrics({"watchdog": text})

    def _add_columns(self, row: Mapping[str, Any]) -> None:
        """Rewrite the file with a row's columns added."""
        columns, lines = self._read()
        first = [name for name in (AXIS, "epoch", "step") if name in row]
        self._columns = list(dict.fromkeys([*self._columns, *columns, *first, *row]))
        self._write(self._columns, lines)

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        """The columns and the lines of the file; none without one; raises ``InputError`` if it cannot be read."""
        if not self.path.is_file():
            return [], []
        try:
            with self.path.open(newline="") as file:
                reader = csv.DictReader(file)
                return list(reader.fieldnames or ()), list(reader)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"cannot read {self.path}: {error}") from None

    def _write(self, columns: list[str], lines: list[dict[str, str]]) -> None:
        """Replace the file."""
        with atomic(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(lines)


class WandbRunLogger(WandbLogger):
    """One W&B run per run folder, with ``images_seen`` as the axis of every figure.

    The run is online if the user is logged in and the server is available. Otherwise it is recorded offline in
    ``<run>/wandb``, and ``sync_command`` uploads it. ``WANDB_MODE`` and ``wandb offline`` are respected. The run's id
    is stored in ``<run>/wandb/run-id``, so that a resumed run folder resumes its W&B run. The run is started at its
    first use, by rank 0 only.

    Args:
        run_folder: the run's folder.
        name: display name of the run in W&B.
        project: the W&B project; default: ``$WANDB_PROJECT`` or ``lightning_gen``.
        mode: online, offline or disabled; None chooses as described above.
        max_checkpoint_gb: maximum size of a best checkpoint that is logged, in GB.
        **kwargs: further arguments of ``wandb.init``: ``entity``, ``group``, ``tags``, ``notes`` ...
    """

    def __init__(
        self,
        run_folder: str | Path,
        *,
        name: str | None = None,
        project: str | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
        max_checkpoint_gb: float = 2.0,
        **kwargs: Any,
    ) -> None:
        project = project or os.environ.get("WANDB_PROJECT") or "lightning_gen"
        super().__init__(name=name, save_dir=run_folder, project=project, **kwargs)
        self.run_folder = Path(run_folder)
        self.mode = mode
        self.max_checkpoint_gb = max_checkpoint_gb
        self._axis = _Axis()
        self._checkpoints: dict[int, ModelCheckpoint] = {}
        self._logged_checkpoint: tuple[str, float] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return state_without_wandb_run(self) | {"_checkpoints": {}}

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, started or resumed at the first use."""
        run = get_wandb_run(self)
        if run is None:
            run = self._start()
            set_wandb_run(self, run)
        return run

    def _start(self) -> wandb.Run:
        run_id = self._run_id()
        if wandb.run is not None:
            if wandb.run.id == run_id:
                return wandb.run
            wandb.finish()  # one W&B run per run folder
        init = wandb_init_options(self) | {"id": run_id, "resume": "allow", "settings": _run_settings()}
        mode = self.mode or _default_mode()
        try:
            run = wandb.init(mode=mode, **init)
        except wandb.Error as error:
            if mode != "online":
                raise
            rank_zero_warn(f"W&B is unavailable ({str(error).splitlines()[0]}): the run is recorded offline")
            wandb.teardown()
            run = wandb.init(mode="offline", **init)
        run.define_metric(AXIS)
        run.define_metric("*", step_metric=AXIS)
        return run

    def _run_id(self) -> str:
        """The id of this folder's W&B run; a new one is stored in the folder."""
        path = self.run_folder / "wandb" / "run-id"
        if path.exists() and (run_id := path.read_text().strip()):
            return run_id
        run_id = wandb_init_options(self).get("id") or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
        with atomic(path) as temporary:
            temporary.write_text(run_id)
        return run_id

    @property
    def url(self) -> str | None:
        """Address of the run's page; None if the run is offline or has not started."""
        run = get_wandb_run(self)
        return run.url if run is not None and run.settings.mode == "online" else None

    @property
    def sync_command(self) -> str | None:
        """The command that uploads the offline recordings of this folder; None if all are uploaded."""
        pending = [
            folder
            for folder in sorted((self.run_folder / "wandb").glob("offline-run-*"))
            if any(folder.glob("*.wandb")) and not any(folder.glob("*.synced"))
        ]
        return shlex.join(["wandb", "sync", *map(str, pending)]) if pending else None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log figures with ``images_seen``; ``step`` is unused, because W&B counts its own rows."""
        self.experiment.log(self._axis.add_to(metrics))

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log pictures.

        Args:
            key: name of the pictures.
            images: arrays ``(height, width, channels)``, tensors, PIL images or files.
            step: images seen; the last logged value if None.
            **kwargs: lists with one entry per picture, e.g. ``caption``.
        """
        if step is not None:
            self._axis.images_seen = step
        super().log_image(key, images, None, **kwargs)

    @rank_zero_only
    def log_alert(self, title: str, text: str) -> None:
        """Send an alert, which W&B forwards by mail or Slack; an offline run sends it when it is uploaded.

        Args:
            title: the title, cut after 63 characters; W&B drops a second alert with the same title within a minute.
            text: the text.
        """
        self.experiment.alert(title=title[:63], text=text, level="WARN")

    @rank_zero_only
    def log_json(self, key: str, mapping: Mapping[str, Any]) -> None:
        """Log a mapping of plain values as a JSON artifact of the run."""
        name = re.sub(r"[^\w.-]", "-", key)  # the characters that W&B allows
        artifact = wandb.Artifact(f"{name}-{self.experiment.id}", type="json")
        with artifact.new_file(f"{name}.json") as file:
            json.dump(mapping, file, indent=2)
        self.experiment.log_artifact(artifact)

    @rank_zero_only
    def log_score_card(self, card: Mapping[str, Any], key: str = "score_card") -> None:
        """Log a score card as an artifact, and its scores in the run's summary.

        Args:
            card: the score card; the entry ``scores`` has the numbers.
            key: name of the card in its run; the summary's names are ``<key>/<metric>``.
        """
        self.log_json(key, card)
        self.experiment.summary.update({f"{key}/{metric}": value for metric, value in card["scores"].items()})

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Record a callback, whose best checkpoint is logged at the end."""
        self._checkpoints[id(checkpoint_callback)] = checkpoint_callback

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Log the best checkpoint after a successful run."""
        if status == "success" and get_wandb_run(self) is not None:
            self._log_best_checkpoint()

    def _log_best_checkpoint(self) -> None:
        monitors = [callback for callback in self._checkpoints.values() if getattr(callback, "monitor", None)]
        if not monitors or not (path := Path(monitors[0].best_model_path)).is_file():
            return
        size_gb, identity = path.stat().st_size / 1e9, (str(path), path.stat().st_mtime)
        if identity == self._logged_checkpoint:
            return
        if size_gb > self.max_checkpoint_gb:
            rank_zero_warn(f"{path} ({size_gb:.1f} GB) is larger than {self.max_checkpoint_gb} GB: not logged to W&B")
            return
        score = monitors[0].best_model_score
        metadata = {"monitor": monitors[0].monitor, "score": None if score is None else float(score)}
        artifact = wandb.Artifact(f"model-{self.experiment.id}", type="model", metadata=metadata)
        artifact.add_file(str(path), name="model.ckpt")
        self.experiment.log_artifact(artifact, aliases=["best"])
        self._logged_checkpoint = identity

    @rank_zero_only
    def close(self) -> None:
        """Finish the W&B run. Otherwise it is finished at the end of the process."""
        run = get_wandb_run(self)
        if run is not None:
            run.finish()
            set_wandb_run(self, None)


def _run_settings() -> wandb.Settings:
    """The settings of a W&B run: quiet, and with time limits on the network.

    wandb 0.31, sdk/wandb_settings.py: ``finish_timeout`` (seconds) is newer than the oldest supported wandb, whose
    ``Settings`` rejects it. Reason: without it, the process waits for a lost network at its end.
    """
    options: dict[str, Any] = {"init_timeout": 30, "console": "off", "silent": True}
    if "finish_timeout" in getattr(wandb.Settings, "model_fields", {}):
        options["finish_timeout"] = 600
    return wandb.Settings(**options)


def _global_settings() -> wandb.Settings:
    """The settings that wandb has read from the environment and its files.

    wandb 0.31, sdk/wandb_setup.py: ``wandb.setup`` is public but documented for use before processes are started.
    Reason: wandb has no public function that returns its settings without starting a run.
    """
    return wandb.setup().settings


def _default_mode() -> Literal["online", "offline", "disabled", "shared"]:
    """The mode of the user's settings; offline instead of online without credentials, so that wandb never prompts."""
    mode: Any = os.environ.get("WANDB_MODE") or _global_settings().mode
    return "offline" if mode == "online" and not _has_credentials() else mode


def _has_credentials() -> bool:
    """Whether W&B finds credentials in the environment, its settings or the netrc file.

    wandb 0.31, sdk/lib/wbauth/authenticate.py does the same. Reason: that module is private, and ``wandb.login``
    prompts the user.
    """
    settings = _global_settings()
    if settings.api_key or os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    files = [os.environ["NETRC"]] if "NETRC" in os.environ else ["~/.netrc", "~/_netrc"]
    hosts = {urlsplit(settings.base_url).netloc, "api.wandb.ai"}
    for file in files:
        try:
            if any(netrc.netrc(Path(file).expanduser()).authenticators(host) for host in hosts):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
