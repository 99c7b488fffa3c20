"""Score a model while it trains, with the code of the final evaluation."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from lightning_gen.callbacks.ending import is_last_epoch
from lightning_gen.errors import InputError
from lightning_gen.evaluation import (
    METRICS,
    Extractor,
    ScoreCard,
    make_extractor,
    protocol_name,
    score_reconstructor,
    score_sampler,
)
from lightning_gen.evaluation.metrics import refuse
from lightning_gen.evaluation.scoring import MOST_SAMPLES
from lightning_gen.lightning_compat import logging_step
from lightning_gen.types import CardLogger, ImageSet, ImageSource, Reconstructor, Sampler


class Fidelity(pl.Callback):
    """Score samples (of a model that only reconstructs: reconstructions) against the train split between epochs.

    Each score is logged under its protocol's name, e.g. ``fidelity/fid1437_train_classifier``, and under the fixed
    name ``fidelity/fid`` that ModelCheckpoint can monitor: scoring comes before checkpoints are written at the end of
    a train epoch. Give ModelCheckpoint the same ``every_n_epochs`` (and ``save_on_train_epoch_end=True`` where
    validation does not run every epoch), since between two scorings the last one stands. Each score card is kept as
    JSON in ``<default_root_dir>/evaluation``.

    Training is bit for bit what it is without this callback. Nothing is done for a model that neither samples nor
    reconstructs, nor in a ``fast_dev_run``.

    Args:
        every_n_epochs: train epochs between two scorings; the end of training is always scored.
        num_samples: how many images to score; as many as the train split has, at most 10,000, when None.
        metrics: out of ``fid``, ``isc``, ``kid``, ``prc``, ``modes``.
        features: name of the extractor; None scores nothing.
        inception_weights: file of Inception's weights, for ``features="inception"``.
        batch_size: how many images to draw at once.
        seed: of the samples, the same at every scoring.

    Raises:
        InputError: when a number is not positive or a metric unknown.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        num_samples: int | None = None,
        metrics: Sequence[str] = ("fid",),
        features: str | None = "classifier",
        inception_weights: Path | None = None,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        for name, number in {
            "every_n_epochs": every_n_epochs,
            "num_samples": num_samples,
            "batch_size": batch_size,
        }.items():
            if number is not None and number < 1:
                raise InputError(f"Fidelity's {name} is {number}; it must be 1 or more")
        for metric in metrics:
            if metric not in METRICS:
                raise InputError(f"unknown metric {metric!r}; choose from {', '.join(METRICS)}")
        self.every_n_epochs = every_n_epochs
        self.num_samples = num_samples
        self.metrics = tuple(metrics)
        self.features = features
        self.inception_weights = inception_weights
        self.batch_size = batch_size
        self.seed = seed
        self.extractor: Extractor | None = None
        self.last_card: ScoreCard | None = None
        self.last_path: Path | None = None
        self.scored_batches = -1

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the extractor, so that whatever it lacks is said before training and not hours later.

        Args:
            trainer: the trainer.
            pl_module: the model.

        Raises:
            InputError: when the data module offers no image sets, the extractor cannot be made, or a metric is
                undefined for what is to be scored.
        """
        self.scored_batches = -1
        dry = getattr(trainer, "fast_dev_run", False)
        if self.features is None or dry or not isinstance(pl_module, Sampler | Reconstructor):
            return
        source = images_of(trainer)
        labelled = (source.image_set("train"), source.image_set("val")) if self.features == "classifier" else None
        self.extractor = make_extractor(
            self.features,
            labelled=labelled,
            inception_weights=self.inception_weights,
            device=trainer.strategy.root_device,
        )
        reference = source.image_set("train")
        refuse(self.metrics, self.extractor, self.num_scored(pl_module, reference), len(reference))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score when due, before checkpoints are written.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        if self.extractor is None or not (self.due(trainer) or is_last_epoch(trainer)):
            return
        for name, value in self.score(trainer, pl_module, self.extractor).items():
            pl_module.log(name, value, on_step=False, on_epoch=True, batch_size=1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score a training that stopped between two scorings, too late for checkpoints, and log the last card whole.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        if self.extractor is None:
            return
        if self.scored_batches != trainer.fit_loop.total_batch_idx:
            figures = self.score(trainer, pl_module, self.extractor)
            for logger in trainer.loggers:
                logger.log_metrics(figures, step=logging_step(trainer))
        if self.last_card is not None:
            for logger in trainer.loggers:
                if isinstance(logger, CardLogger):
                    logger.log_score_card(asdict(self.last_card))

    def due(self, trainer: pl.Trainer) -> bool:
        """Whether the train epoch that just ended is one to score."""
        return (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def num_scored(self, pl_module: pl.LightningModule, reference: ImageSet) -> int:
        """How many images to score: no more reconstructions than there are images."""
        num = min(MOST_SAMPLES, len(reference)) if self.num_samples is None else self.num_samples
        return num if isinstance(pl_module, Sampler) else min(num, len(reference))

    def score(self, trainer: pl.Trainer, pl_module: pl.LightningModule, extractor: Extractor) -> dict[str, float]:
        """Score the model, keep the card, and give the figures to log.

        Args:
            trainer: the trainer.
            pl_module: the model.
            extractor: whose features are compared.

        Returns:
            Value by the name under which it is logged.
        """
        reference = images_of(trainer).image_set("train")
        options: dict[str, Any] = {"metrics": self.metrics, "batch_size": self.batch_size, "seed": self.seed}
        num = self.num_scored(pl_module, reference)
        if isinstance(pl_module, Sampler):
            card = score_sampler(pl_module, reference, extractor, num_samples=num, **options)
        else:
            assert isinstance(pl_module, Reconstructor)
            card = score_reconstructor(pl_module, reference, extractor, num_samples=num, **options)
        self.last_card = card
        self.scored_batches = trainer.fit_loop.total_batch_idx
        if trainer.is_global_zero:
            name = f"epoch{trainer.current_epoch:04d}_{card.protocol[self.metrics[0]].replace('@', '_')}.json"
            self.last_path = Path(trainer.default_root_dir) / "evaluation" / name
            card.save(self.last_path)
        return figures_of(card)


def images_of(trainer: pl.Trainer) -> ImageSource:
    """The trainer's data module, which must offer image sets."""
    source = getattr(trainer, "datamodule", None)
    if not isinstance(source, ImageSource):
        raise InputError("Fidelity scores against the train split: fit with a data module that has image_set(split)")
    return source


def figures_of(card: ScoreCard) -> dict[str, float]:
    """A card's scores under their protocol's and their fixed names, and the images seen beside them."""
    figures: dict[str, float] = {}
    assert card.extractor is not None
    for name, value in card.scores.items():
        protocol = protocol_name(name, card.num_generated, card.split, card.extractor, card.subject)
        figures[f"fidelity/{protocol.replace('@', '_')}"] = value
        figures[f"fidelity/{name}"] = value
    if card.images_seen is not None:
        figures["images_seen"] = float(card.images_seen)
    return figures
