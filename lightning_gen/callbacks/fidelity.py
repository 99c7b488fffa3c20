"""Scores a model during training, with the code of the final evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
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
    METRICS,
    NO_EXTRACTOR,
    WIDE_FEATURES,
    Extractor,
    ScoreCard,
    check_metric_names,
    check_metrics,
    choose_extractor,
    classifier_splits,
    differ_in_size,
    make_extractor,
    needs_of,
    protocol_name,
    score_reconstructions,
    score_samples,
    score_translations,
)
from lightning_gen.lightning_compat import logging_step, trained_batches
from lightning_gen.logger_types import CardLogger
from lightning_gen.types import ImageGenerator, ImageSet, ImageSource, PairSet, PairSource, Reconstructor, Translator

Scored = ImageGenerator | Translator | Reconstructor
"""What the callback scores."""


class Fidelity(pl.Callback):
    """Scores samples, translations or, of a model that has neither, reconstructions between epochs.

    Samples and reconstructions are scored against the train split. Translations of the val split's inputs are scored
    against that split's targets: a model that was trained on pairs knows the targets of the train split, and the best
    checkpoint would be the one that remembers them. If the val split has too few images for a metric, or images of
    unequal size, the train split is used. Paired images also have ``fidelity/psnr``, ``fidelity/ssim`` and at a scale
    above 1 ``fidelity/psnr_y`` ..., which need no extractor, see :func:`lightning_gen.evaluation.score_translations`.

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
        metrics: one or several of ``fid``, ``isc``, ``kid`` ..., see ``lightning_gen.evaluation.FEATURE_METRICS`` and
            ``GENERATOR_METRICS``; ``copies`` is refused, because training does not use the test split.
        features: name of the extractor; ``auto``: the classifier for labelled data with enough images per class,
            otherwise inception if its weights are present, otherwise efficientnet_lite0 if it is installed, otherwise
            nothing is scored but the pairs of a translator; None disables scoring.
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
                "fidelity.metrics contains copies, which needs the test split: lightning-gen evaluate --metrics copies"
            )
        self.every_n_epochs = every_n_epochs
        self.num_samples = num_samples
        self.metrics = tuple(metrics)
        self.features = features
        self.inception_weights = inception_weights
        self.batch_size = batch_size
        self.seed = seed
        self.extractor: Extractor | None = None
        self.is_active = False
        self.baselines: Mapping[str, Mapping[str, float]] = {}
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
        self.is_active, self.baselines = False, {}
        fast_dev_run = getattr(trainer, "fast_dev_run", False)
        if self.features is None or fast_dev_run or not isinstance(pl_module, Scored):
            return
        self.extractor = None
        source = image_source(trainer)
        reference = source.image_set("train")
        name: str | None = self.features
        if name == AUTO:
            name = choose_extractor(reference, self.inception_weights)
        if name is None and translates(pl_module) and self.pairs(trainer, pl_module).paired:
            self.is_active = True
            return
        if name is None:
            rank_zero_warn(f"the model is not scored: {NO_EXTRACTOR}; fidelity.features null disables this warning")
            return
        self.extractor = make_extractor(
            name,
            labelled=classifier_splits(source) if name == "classifier" else None,
            inception_weights=self.inception_weights,
            device=trainer.strategy.root_device,
        )
        self.is_active = True
        generated = reference
        if translates(pl_module):
            generated, reference, _ = self.pairs(trainer, pl_module)
        model = pl_module if isinstance(pl_module, ImageGenerator) else None
        num = self.num_scored(pl_module, generated)
        check_metrics(self.metrics, self.extractor, num, len(reference), model=model)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score the model every ``every_n_epochs`` epochs and after the last one."""
        if not self.is_active or not (self.is_due(trainer) or is_last_epoch(trainer)):
            return
        for name, value in self.score(trainer, pl_module).items():
            pl_module.log(name, value, on_step=False, on_epoch=True, batch_size=1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score a run that stopped inside an epoch, and log the last score card; checkpoints are already written."""
        if not self.is_active:
            return
        if self.last_scored_batch != trained_batches(trainer):
            values = self.score(trainer, pl_module)
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
        """The number of images to score; of reconstructions and translations, at most the size of the image set."""
        num = min(MAX_SAMPLES, len(reference)) if self.num_samples is None else self.num_samples
        return num if isinstance(pl_module, ImageGenerator) else min(num, len(reference))

    def pairs(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> PairSet:
        """The pairs that a translator is scored by: those of val, or of train if val does not allow a metric.

        Args:
            trainer: the trainer.
            pl_module: the model.

        Returns:
            The inputs and targets.

        Raises:
            InputError: when the data has no inputs.
        """
        source = image_source(trainer)
        val, train = (source.pair_set(split) if isinstance(source, PairSource) else None for split in ("val", "train"))
        if val is None or train is None:
            raise InputError(f"{type(pl_module).__name__} makes images from images; set data.inputs")
        fewest = max((METRICS[name].min_images for name in self.metrics), default=1)
        is_unequal = differ_in_size(val)
        return train if is_unequal or min(len(val.inputs), len(val.images)) < fewest else val

    def score(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        """Score the model, save the score card, and return the values to log."""
        if isinstance(pl_module, Translator) and translates(pl_module):
            card = self.score_pairs(pl_module, self.pairs(trainer, pl_module))
        else:
            card = self.score_images(trainer, pl_module)
        self.last_card = card
        self.last_scored_batch = trained_batches(trainer)
        if trainer.is_global_zero:
            protocol = card.protocol_of(card.metrics).replace("@", "_")
            name = f"epoch{trainer.current_epoch:04d}_{protocol}.json"
            self.last_path = Path(trainer.default_root_dir) / "evaluation" / name
            card.save(self.last_path)
        return logged_values(card)

    def score_pairs(self, model: Translator, pairs: PairSet) -> ScoreCard:
        """Score translations; the baseline, which does not change, is scored once."""
        card = score_translations(
            model,
            pairs,
            self.extractor,
            metrics=() if self.extractor is None else self.metrics,
            num_samples=MAX_SAMPLES if self.num_samples is None else self.num_samples,
            batch_size=self.batch_size,
            seed=self.seed,
            with_baseline=not self.baselines,
        )
        self.baselines = card.baselines or self.baselines
        return replace(card, baselines=self.baselines)

    def score_images(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> ScoreCard:
        """Score samples or reconstructions against the train split."""
        extractor = self.extractor
        assert extractor is not None
        reference = image_source(trainer).image_set("train")
        options: dict[str, Any] = {"metrics": self.metrics, "batch_size": self.batch_size, "seed": self.seed}
        num = self.num_scored(pl_module, reference)
        if isinstance(pl_module, ImageGenerator):
            band: dict[str, Any] = {"band_draws": 0}
            if extractor.width <= WIDE_FEATURES and "prc" not in self.metrics:
                band = {"held_out": image_source(trainer).image_set("val")}
            return score_samples(pl_module, reference, extractor, num_samples=num, **options, **band)
        assert isinstance(pl_module, Reconstructor)
        return score_reconstructions(pl_module, reference, extractor, num_samples=num, **options)


def translates(model: object) -> bool:
    """Whether a model is scored by its translations: it makes images from images, and none from noise."""
    return isinstance(model, Translator) and not isinstance(model, ImageGenerator)


def image_source(trainer: pl.Trainer) -> ImageSource:
    """The trainer's data module; raises :class:`InputError` when it has no image sets."""
    source = getattr(trainer, "datamodule", None)
    if not isinstance(source, ImageSource):
        raise InputError("Fidelity scores against the train split: fit with a data module that has image_set(split)")
    return source


def logged_values(card: ScoreCard) -> dict[str, float]:
    """A card's scores under their protocol's and their fixed names, and the number of images seen."""
    values: dict[str, float] = {}
    for name, value in card.scores.items():
        protocol = card.protocol.get(name)
        if protocol is None:
            protocol = protocol_name(name, card.num_generated, card.split, card.extractor, card.subject)
        values[f"fidelity/{protocol.replace('@', '_')}"] = value
        values[f"fidelity/{name}"] = value
    if card.images_seen is not None:
        values["images_seen"] = float(card.images_seen)
    return values
