"""Where a run's figures go: a CSV file in the run's folder, and Weights & Biases.

Both put every figure on one axis, the number of images that the model had been trained on. Models log ``images_seen``
beside their figures; what is logged without it (pictures, a learning rate) gets the newest that the logger knows.
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

AXIS = "images_seen"


class _Axis:
    """Puts rows of figures on the axis."""

    def __init__(self) -> None:
        self.images_seen: int | None = None

    def place(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Give a row its number of images seen, a whole number whatever mean Lightning took of it."""
        if AXIS in metrics:
            self.images_seen = round(float(metrics[AXIS]))
        axis = {} if self.images_seen is None else {AXIS: self.images_seen}
        return axis | {name: value for name, value in metrics.items() if name != AXIS}


class RunCSVLogger(Logger):
    """Writes ``<run>/metrics.csv``: a line for each call, a column for each figure, ``images_seen`` first.

    Each line is on the disk when the call returns, and a resumed run goes on below the lines that are there, which
    Lightning's own CSVLogger deletes. Hyper-parameters are not repeated here: ``config.yaml`` holds them.

    Args:
        run_folder: the run's folder; made when the first line is written.
    """

    def __init__(self, run_folder: str | Path) -> None:
        super().__init__()
        self.path = Path(run_folder) / "metrics.csv"
        self._columns: list[str] = []
        self._axis = _Axis()

    @property
    def name(self) -> str:
        """Empty: the run's folder names the run."""
        return ""

    @property
    def version(self) -> str:
        """Empty: the run's folder names the run."""
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
        """Write nothing."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append a line.

        Args:
            metrics: figures by name.
            step: training batches so far, by Lightning's count.
        """
        row = self._axis.place(metrics) | ({} if step is None else {"step": step})
        if not row.keys() <= set(self._columns):
            self._widen(row)
        try:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from None

    def log_alert(self, title: str, text: str) -> None:
        """Append a line with a text under the column ``watchdog``.

        Args:
            title: unused; the text says it too.
            text: what to say.
        """
        self.log_metrics({"watchdog": text})

    def _widen(self, row: Mapping[str, Any]) -> None:
        """Write the file anew with the columns that it had and the row's."""
        lines: list[dict[str, str]] = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                reader = csv.DictReader(file)
                self._columns = list(reader.fieldnames or ())
                lines = list(reader)
        first = [name for name in (AXIS, "epoch", "step") if name in row]
        self._columns = list(dict.fromkeys([*self._columns, *first, *row]))
        with atomic(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(lines)


class WandbRunLogger(WandbLogger):
    """One W&B run for one run folder, with ``images_seen`` as the axis of everything in it.

    The run is online when the user is logged in, else (or where the server cannot be reached) offline in
    ``<run>/wandb``, to be uploaded with ``sync_command``; ``WANDB_MODE`` and ``wandb offline`` are obeyed. Its id is
    kept in ``<run>/wandb/run-id``, so that a resumed run folder resumes its W&B run. Nothing is started before it is
    needed, and only by the first process.

    Args:
        run_folder: the run's folder.
        name: the run's name in W&B.
        project: the W&B project; by default ``$WANDB_PROJECT`` or ``lightning_gen``.
        mode: online, offline or disabled; chosen as above when None.
        max_checkpoint_gb: a best checkpoint that is larger is not logged.
        **kwargs: what else ``wandb.init`` takes: ``entity``, ``group``, ``tags``, ``notes`` ...
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
        return {**self.__dict__, "_experiment": None, "_checkpoints": {}}

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, started or resumed at the first use."""
        if self._experiment is None:
            self._experiment = self._start()
        return self._experiment

    def _start(self) -> wandb.Run:
        run_id = self._run_id()
        if wandb.run is not None:
            if wandb.run.id == run_id:
                return wandb.run
            wandb.finish()  # one run folder, one W&B run
        options: dict[str, Any] = {"init_timeout": 30, "console": "off", "silent": True}
        if "finish_timeout" in getattr(wandb.Settings, "model_fields", {}):
            options["finish_timeout"] = 600  # seconds: a network that is lost never holds the process back for good
        init = {name: value for name, value in self._wandb_init.items() if value is not None}
        init |= {"id": run_id, "resume": "allow", "settings": wandb.Settings(**options)}
        mode = self.mode or _mode()
        try:
            run = wandb.init(mode=mode, **init)
        except wandb.Error as error:
            if mode != "online":
                raise
            rank_zero_warn(f"W&B cannot be used online ({str(error).splitlines()[0]}): the run is recorded offline")
            wandb.teardown()
            run = wandb.init(mode="offline", **init)
        run.define_metric(AXIS)
        run.define_metric("*", step_metric=AXIS)
        return run

    def _run_id(self) -> str:
        """The id of the W&B run that this folder began, or else a new one, kept for the next time."""
        path = self.run_folder / "wandb" / "run-id"
        if path.exists() and (run_id := path.read_text().strip()):
            return run_id
        run_id = self._id or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
        with atomic(path) as temporary:
            temporary.write_text(run_id)
        return run_id

    @property
    def url(self) -> str | None:
        """Where the run is seen; None when it is offline or has not begun."""
        run = self._experiment
        return run.url if run is not None and run.settings.mode == "online" else None

    @property
    def sync_command(self) -> str | None:
        """The command that uploads what was recorded offline and not uploaded since; None when there is nothing."""
        pending = [
            folder
            for folder in sorted((self.run_folder / "wandb").glob("offline-run-*"))
            if any(folder.glob("*.wandb")) and not any(folder.glob("*.synced"))
        ]
        return shlex.join(["wandb", "sync", *map(str, pending)]) if pending else None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log figures at their number of images seen.

        Args:
            metrics: figures by name, ``images_seen`` among them.
            step: unused; W&B counts its own rows.
        """
        self.experiment.log(self._axis.place(metrics))

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log pictures.

        Args:
            key: their name.
            images: arrays ``(height, width, channels)``, tensors, PIL images or files.
            step: images seen; the newest known when None.
            **kwargs: lists with one entry for each picture, e.g. ``caption``.
        """
        if step is not None:
            self._axis.images_seen = step
        super().log_image(key, images, None, **kwargs)

    @rank_zero_only
    def log_alert(self, title: str, text: str) -> None:
        """Send an alert, which W&B forwards by mail or Slack as the user has set; kept for later when offline.

        Args:
            title: what happened; of two alerts with one title within a minute, W&B sends the first.
            text: the rest.
        """
        self.experiment.alert(title=title[:63], text=text, level="WARN")

    @rank_zero_only
    def log_json(self, key: str, mapping: Mapping[str, Any]) -> None:
        """Keep a mapping as a JSON artifact of the run.

        Args:
            key: its name.
            mapping: plain values.
        """
        name = re.sub(r"[^\w.-]", "-", key)  # what W&B takes for a name
        artifact = wandb.Artifact(f"{name}-{self.experiment.id}", type="json")
        with artifact.new_file(f"{name}.json") as file:
            json.dump(mapping, file, indent=2)
        self.experiment.log_artifact(artifact)

    @rank_zero_only
    def log_score_card(self, card: Mapping[str, Any], key: str = "score_card") -> None:
        """Keep a score card whole as an artifact, and its scores in the run's summary.

        Args:
            card: the score card, its numbers under ``scores``.
            key: tells one card of a run from another; the summary's names are ``<key>/<metric>``.
        """
        self.log_json(key, card)
        self.experiment.summary.update({f"{key}/{metric}": value for metric, value in card["scores"].items()})

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Remember whom to ask for the best checkpoint."""
        self._checkpoints[id(checkpoint_callback)] = checkpoint_callback

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Log the best checkpoint after a run that succeeded."""
        if status == "success" and self._experiment is not None:
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
        """End the W&B run; without it, the run ends with the process."""
        if self._experiment is not None:
            self._experiment.finish()
            self._experiment = None


def _mode() -> Literal["online", "offline", "disabled", "shared"]:
    """The mode that the user chose, but never online without credentials: nothing may stop and ask."""
    mode: Any = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
    return "offline" if mode == "online" and not _logged_in() else mode


def _logged_in() -> bool:
    """Whether W&B finds credentials on this machine: in the environment, its settings or the netrc file."""
    settings = wandb.setup().settings
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
