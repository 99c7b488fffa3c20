"""Scores a model during training, with the code of the final evaluation."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn

from lightning_gen.callbacks.ending import is_last_epoch
from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.evaluation import (
    AUTO,
    MAX_SAMPLES,
    NO_EXTRACTOR,
    WIDE_FEATURES,
    Extractor,
    ScoreCard,
    check_metric_names,
    check_metrics,
    choose_extractor,
    classifier_splits,
    make_extractor,
    needs_of,
    protocol_name,
    score_reconstructions,
    score_samples,
)
from lightning_gen.lightning_compat import logging_step, trained_batches
from lightning_gen.types import CardLogger, ImageGenerator, ImageSet, ImageSource, Reconstructor


class Fidelity(pl.Callback):
    """Scores samples, or the reconstructions of a model without samples, against the train split between epochs.

    Each score is logged under its protocol's name, e.g. ``fidelity/fid1437_train_classifier``, and under the fixed
    name ``fidelity/fid``, which ModelCheckpoint can monitor: scores are computed before checkpoints are written at the
    end of a train epoch. Give ModelCheckpoint the same ``every_n_epochs`` (and ``save_on_train_epoch_end=True`` where
    validation does not run every epoch), because the last score stays logged until the next one. Each score card is
    saved as JSON in ``<default_root_dir>/evaluation``.

    Each score is of one draw of samples, which gives no standard deviation (``evaluate --draws``), and the best of many
    scores is biased. The card has the reference band (see ``evaluation/band.py``) if FID is the only metric with a band
    and the features are at most 256 wide.

    Training is bitwise the same with and without this callback. Models that neither sample nor reconstruct are not
    scored, and nothing is scored in a ``fast_dev_run``.

    Args:
        every_n_epochs: train epochs between two scores; the end of training is always scored.
        num_samples: the number of images to score; default: the size of the train split, at most 10,000.
        metrics: one or several of ``fid``, ``isc``, ``kid`` ..., see ``lightning_gen.evaluation.FEATURE_METRICS``;
            ``copies`` is refused, because training does not use the test split.
        features: name of the extractor; ``auto``: the classifier for labelled data with enough images per class,
            otherwise inception if its weights are present, otherwise efficientnet_lite0 if it is installed, otherwise
            nothing is scored; None disables scoring.
        inception_weights: file of Inception's weights.
        batch_size: the number of images generated at once.
        seed: seed of the samples, the same for every score.

    Raises:
        InputError: when a number is not positive, or a metric is unknown or needs held-out images.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        num_samples: int | None = None,
        metrics: Sequence[str] = ("fid",),
        features: str | None = AUTO,
        inception_weights: Path | None = None,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        check_at_least(
            1, prefix="fidelity.", every_n_epochs=every_n_epochs, num_samples=num_samples, batch_size=batch_size
        )
        if metrics:
            check_metric_names(metrics)
        if "held_out" in needs_of(metrics):
            raise InputError(
                "fidelity.metrics contains copies, which needs the test split; run evaluate.py --metrics copies instead"
            )
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
        self.last_scored_batch = -1

    def state_dict(self) -> dict[str, Any]:
        """The seed of the samples whose score chooses the best checkpoint."""
        return {"seed": self.seed}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Create the extractor, so that missing weights or labels are reported before training.

        Args:
            trainer: the trainer.
            pl_module: the model.

        Raises:
            InputError: when the data module has no image sets, the extractor cannot be created, or a metric is
                undefined for what is scored.
        """
        self.last_scored_batch = -1
        fast_dev_run = getattr(trainer, "fast_dev_run", False)
        if self.features is None or fast_dev_run or not isinstance(pl_module, ImageGenerator | Reconstructor):
            return
        source = image_source(trainer)
        reference = source.image_set("train")
        name: str | None = self.features
        if name == AUTO:
            name = choose_extractor(reference, self.inception_weights)
        if name is None:
            self.extractor = None
            rank_zero_warn(f"the model is not scored: {NO_EXTRACTOR}; fidelity.features null disables this warning")
            return
        self.extractor = make_extractor(
            name,
            labelled=classifier_splits(source) if name == "classifier" else None,
            inception_weights=self.inception_weights,
            device=trainer.strategy.root_device,
        )
        check_metrics(self.metrics, self.extractor, self.num_scored(pl_module, reference), len(reference))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score the model every ``every_n_epochs`` epochs and after the last one."""
        if self.extractor is None or not (self.is_due(trainer) or is_last_epoch(trainer)):
            return
        for name, value in self.score(trainer, pl_module, self.extractor).items():
            pl_module.log(name, value, on_step=False, on_epoch=True, batch_size=1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score a run that stopped inside an epoch, and log the last score card; checkpoints are already written."""
        if self.extractor is None:
            return
        if self.last_scored_batch != trained_batches(trainer):
            values = self.score(trainer, pl_module, self.extractor)
            for logger in trainer.loggers:
                logger.log_metrics(values, step=logging_step(trainer))
        if self.last_card is not None:
            for logger in trainer.loggers:
                if isinstance(logger, CardLogger):
                    logger.log_score_card(asdict(self.last_card))

    def is_due(self, trainer: pl.Trainer) -> bool:
        """Whether the epoch that just ended is one of every ``every_n_epochs``."""
        return (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def num_scored(self, pl_module: pl.LightningModule, reference: ImageSet) -> int:
        """The number of images to score; of reconstructions, at most the size of the reference."""
        num = min(MAX_SAMPLES, len(reference)) if self.num_samples is None else self.num_samples
        return num if isinstance(pl_module, ImageGenerator) else min(num, len(reference))

    def score(self, trainer: pl.Trainer, pl_module: pl.LightningModule, extractor: Extractor) -> dict[str, float]:
        """Score the model, save the score card, and return the values to log."""
        reference = image_source(trainer).image_set("train")
        options: dict[str, Any] = {"metrics": self.metrics, "batch_size": self.batch_size, "seed": self.seed}
        num = self.num_scored(pl_module, reference)
        if isinstance(pl_module, ImageGenerator):
            band: dict[str, Any] = {"band_draws": 0}
            if extractor.width <= WIDE_FEATURES and "prc" not in self.metrics:
                band = {"held_out": image_source(trainer).image_set("val")}
            card = score_samples(pl_module, reference, extractor, num_samples=num, **options, **band)
        else:
            assert isinstance(pl_module, Reconstructor)
            card = score_reconstructions(pl_module, reference, extractor, num_samples=num, **options)
        self.last_card = card
        self.last_scored_batch = trained_batches(trainer)
        if trainer.is_global_zero:
            name = f"epoch{trainer.current_epoch:04d}_{card.protocol[self.metrics[0]].replace('@', '_')}.json"
            self.last_path = Path(trainer.default_root_dir) / "evaluation" / name
            card.save(self.last_path)
        return logged_values(card)


def image_source(trainer: pl.Trainer) -> ImageSource:
    """The trainer's data module; raises :class:`InputError` when it has no image sets."""
    source = getattr(trainer, "datamodule", None)
    if not isinstance(source, ImageSource):
        raise InputError("Fidelity scores against the train split: fit with a data module that has image_set(split)")
    return source


def logged_values(card: ScoreCard) -> dict[str, float]:
    """A card's scores under their protocol's and their fixed names, and the number of images seen."""
    values: dict[str, float] = {}
    assert card.extractor is not None
    for name, value in card.scores.items():
        protocol = protocol_name(name, card.num_generated, card.split, card.extractor, card.subject)
        values[f"fidelity/{protocol.replace('@', '_')}"] = value
        values[f"fidelity/{name}"] = value
    if card.images_seen is not None:
        values["images_seen"] = float(card.images_seen)
    return values
