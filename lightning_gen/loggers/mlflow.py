"""MLflow: figures, pictures, score cards and alerts in the user's tracking server or folder."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from lightning_utilities.core.rank_zero import rank_zero_only
from PIL import Image
from pytorch_lightning.loggers import MLFlowLogger

from lightning_gen.cache import atomic
from lightning_gen.loggers.axis import AXIS, Axis

for messages in ("pytorch_lightning.loggers.mlflow", "mlflow", "alembic"):
    logging.getLogger(messages).setLevel(logging.ERROR)  # each new store and experiment is announced


class RunMLFlowLogger(MLFlowLogger):
    """One MLflow run per run folder, with ``images_seen`` as the step of every figure.

    The tracking address is MLflow's own: ``MLFLOW_TRACKING_URI``, default: a store in the working folder. The run's id
    is stored in ``<run>/mlflow-run-id``, so that a resumed run folder resumes its MLflow run.

    Args:
        run_folder: the run's folder.
        experiment: name of the MLflow experiment.
        name: name of the MLflow run.
    """

    def __init__(self, run_folder: str | Path, experiment: str, name: str) -> None:
        self.id_file = Path(run_folder) / "mlflow-run-id"
        run_id = self.id_file.read_text().strip() if self.id_file.is_file() else None
        super().__init__(experiment, run_name=name, tracking_uri=mlflow.get_tracking_uri(), run_id=run_id or None)
        self._axis = Axis()

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Log hyper-parameters. MLflow keeps the first value of each, so a resumed run adds only what is new."""
        flat = flatten(params)
        known = self.experiment.get_run(self.run_id).data.params
        super().log_hyperparams({name: value for name, value in flat.items() if name not in known})

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log figures; ``step`` is unused, because the axis is ``images_seen``."""
        row = self._axis.add_to(metrics)
        super().log_metrics({name: float(value) for name, value in row.items() if name != AXIS}, row.get(AXIS))
        self._store_id()

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, caption: list[str] | None = None) -> None:
        """Log pictures as ``<key>/<images seen>_<number>.png``.

        Args:
            key: name of the pictures.
            images: uint8 arrays ``(height, width, channels)``.
            step: images seen; the last logged value if None.
            caption: one text per picture, stored beside it.
        """
        step = self._axis.images_seen if step is None else step
        for number, picture in enumerate(images):
            stem = f"{key}/{step or 0:012d}_{number}"
            self.experiment.log_image(self.run_id, Image.fromarray(picture), artifact_file=f"{stem}.png")
            if caption is not None:
                self.experiment.log_text(self.run_id, caption[number], f"{stem}.txt")

    @rank_zero_only
    def log_score_card(self, card: Mapping[str, Any], key: str = "score_card") -> None:
        """Log a score card as ``<key>.json``, and its scores as figures.

        Args:
            card: the score card; the entry ``scores`` has the numbers.
            key: name of the card in its run.
        """
        self.experiment.log_text(self.run_id, json.dumps(card, indent=2), f"{key}.json")
        self.log_metrics({f"{key}/{metric}": value for metric, value in card["scores"].items()})

    @rank_zero_only
    def log_alert(self, title: str, text: str) -> None:
        """Set the text as the run's tag ``alert.<title>``."""
        self.experiment.set_tag(self.run_id, f"alert.{title}", text)

    def _store_id(self) -> None:
        if not self.id_file.is_file():
            with atomic(self.id_file) as temporary:
                temporary.write_text(str(self.run_id))


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, whose names are paths such as ``data/batch_size``."""
    flat: dict[str, Any] = {}
    for name, value in params.items():
        flat |= flatten(value, f"{prefix}{name}/") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
