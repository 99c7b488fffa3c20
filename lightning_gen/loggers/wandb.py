"""The W&B run of a run: figures, pictures, tables, score cards, alerts and the best checkpoint.

This is the only module that imports wandb.
"""

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import wandb
from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_only, rank_zero_warn
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger

from lightning_gen.cache import atomic
from lightning_gen.evaluation.directions import direction_of
from lightning_gen.lightning_compat import (
    get_wandb_run,
    set_wandb_run,
    state_without_wandb_run,
    wandb_init_options,
)
from lightning_gen.loggers.axis import AXIS, Axis
from lightning_gen.loggers.credentials import has_credentials
from lightning_gen.loggers.offline import run_id_file, saved_settings, sync_command

SCORES = "fidelity/"
"""Begin of the names of scores during training."""
SUMMARIES = {"lower": "min,last", "higher": "max,last"}
"""What W&B's table of runs shows of a score: the best value, which sweeps optimise, and the last."""


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
        entity: the user or team that owns the project; default: ``$WANDB_ENTITY`` or the user's default.
        group: a name that groups runs; default on the command line: the experiment's name.
        tags: labels of the run; default on the command line: the model's class and the dataset.
        notes: a description of the run.
        mode: online, offline or disabled; None chooses as described above.
        max_checkpoint_gb: maximum size of a best checkpoint that is logged, in GB.
        **kwargs: further arguments of Lightning's ``WandbLogger`` and of ``wandb.init``.
    """

    def __init__(
        self,
        run_folder: str | Path,
        *,
        name: str | None = None,
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
        max_checkpoint_gb: float = 2.0,
        **kwargs: Any,
    ) -> None:
        project = project or os.environ.get("WANDB_PROJECT") or "lightning_gen"
        kwargs |= {"entity": entity, "group": group, "tags": None if tags is None else list(tags), "notes": notes}
        super().__init__(name=name, save_dir=run_folder, project=project, **kwargs)
        self.run_folder = Path(run_folder)
        self.mode = mode
        self.max_checkpoint_gb = max_checkpoint_gb
        self._axis = Axis()
        self._checkpoints: dict[int, ModelCheckpoint] = {}
        self._logged_checkpoint: tuple[str, float] | None = None
        self._defined: set[str] = set()

    @classmethod
    def of_run(cls, run_folder: Path) -> "WandbRunLogger | None":
        """The logger that resumes the W&B run of a run's folder, in its project and mode.

        Args:
            run_folder: the run's folder.

        Returns:
            The logger; None if the run has no W&B run, or W&B is disabled.
        """
        settings = saved_settings(run_folder)
        if not run_id_file(run_folder).is_file() or (settings.get("mode") or _default_mode()) == "disabled":
            return None
        return cls(run_folder, **settings)

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
        mode = self.mode or _default_mode()
        run_id = self._run_id(stored=mode != "disabled")
        if wandb.run is not None:
            if wandb.run.id == run_id:
                return wandb.run
            wandb.finish()  # one W&B run per run folder
        init = wandb_init_options(self) | {"id": run_id, "resume": "allow", "settings": _run_settings()}
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

    def _run_id(self, stored: bool) -> str:
        """The id of this folder's W&B run. If it is ``stored``, a new one is written to the folder."""
        path = run_id_file(self.run_folder)
        if path.exists() and (run_id := path.read_text().strip()):
            return run_id
        run_id = wandb_init_options(self).get("id") or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
        if stored:
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
        return sync_command(self.run_folder)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log figures with ``images_seen``; ``step`` is unused, because W&B counts its own rows."""
        for name in metrics.keys() - self._defined:
            self._define(name)
        self.experiment.log(self._axis.add_to(metrics))

    def _define(self, name: str) -> None:
        """Let the run's summary have the best value of a score, and of the loss on the validation split."""
        self._defined.add(name)
        direction = direction_of(name.removeprefix(SCORES)) if name.startswith(SCORES) else None
        if name == "val_loss/total":
            direction = "lower"
        if direction in SUMMARIES:
            self.experiment.define_metric(name, step_metric=AXIS, summary=SUMMARIES[direction])

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
    def log_table(  # type: ignore[override]
        self, key: str, columns: list[str], data: list[list[Any]], *, step: int | None = None
    ) -> None:
        """Log a table.

        Args:
            key: name of the table.
            columns: names of the columns.
            data: the rows; a cell that is an array ``(height, width, channels)`` becomes a picture.
            step: images seen; the last logged value if None.
        """
        if step is not None:
            self._axis.images_seen = step
        rows = [[wandb.Image(cell) if isinstance(cell, np.ndarray) else cell for cell in row] for row in data]
        super().log_table(key, columns=columns, data=rows)

    @rank_zero_only
    def log_animation(self, key: str, file: Path, step: int | None = None) -> None:
        """Log a GIF file.

        Args:
            key: name of the animation.
            file: the file.
            step: images seen; the last logged value if None.
        """
        if step is not None:
            self._axis.images_seen = step
        self.log_metrics({key: wandb.Video(str(file), format="gif")})

    @rank_zero_only
    def log_summary(self, values: Mapping[str, float]) -> None:
        """Set values of the run's summary."""
        self.experiment.summary.update(dict(values))

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
        self.log_summary({f"{key}/{metric}": value for metric, value in card["scores"].items()})

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
            self._defined.clear()


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
    settings = _global_settings()
    return "offline" if mode == "online" and not has_credentials(settings.api_key, settings.base_url) else mode
