"""TensorBoard: figures, pictures, score cards and alerts in ``<run>/tensorboard``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import TensorBoardLogger

from lightning_gen.loggers.axis import AXIS, Axis


class RunTensorBoardLogger(TensorBoardLogger):
    """Writes TensorBoard's event files, with ``images_seen`` as the step of every figure.

    Args:
        run_folder: the run's folder.
    """

    def __init__(self, run_folder: str | Path) -> None:
        super().__init__(run_folder, name="", version="tensorboard", default_hp_metric=False)
        self._axis = Axis()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log figures; ``step`` is unused, because the axis is ``images_seen``."""
        row = self._axis.add_to(metrics)
        super().log_metrics({name: value for name, value in row.items() if name != AXIS}, row.get(AXIS))

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, caption: list[str] | None = None) -> None:
        """Log pictures.

        Args:
            key: name of the pictures.
            images: uint8 arrays ``(height, width, channels)``.
            step: images seen; the last logged value if None.
            caption: one text per picture.
        """
        step = self._axis.images_seen if step is None else step
        for number, picture in enumerate(images):
            name = key if len(images) == 1 else f"{key}/{number}"
            self.experiment.add_image(name, picture, step, dataformats="HWC")
            if caption is not None:
                self.experiment.add_text(f"{name}/caption", caption[number], step)

    @rank_zero_only
    def log_score_card(self, card: Mapping[str, Any], key: str = "score_card") -> None:
        """Log a score card as a text, and its scores as figures.

        Args:
            card: the score card; the entry ``scores`` has the numbers.
            key: name of the card in its run.
        """
        lines = [f"| {name} | {value} |" for name, value in card.items() if name != "scores"]
        self.experiment.add_text(key, "\n".join(["| entry | value |", "|---|---|", *lines]), self._axis.images_seen)
        self.log_metrics({f"{key}/{metric}": value for metric, value in card["scores"].items()})

    @rank_zero_only
    def log_alert(self, title: str, text: str) -> None:
        """Log a text under the title."""
        self.experiment.add_text(f"alert/{title}", text, self._axis.images_seen)
