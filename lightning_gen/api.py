"""The Python interface: loads models, and scores them by the code of the command ``evaluate``.

``load("runs/dcgan_digits")`` is a model, and ``score(model, data, metrics=["fid", "prc"])`` its score card.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_gen.cli.catalogue import METRIC
from lightning_gen.cli.checkpoint_data import dataset_of
from lightning_gen.cli.devices import resolve_device
from lightning_gen.cli.generation import DEFAULT_SAMPLING
from lightning_gen.cli.scoring_models import score_model, with_checkpoint
from lightning_gen.cli.scoring_options import ModelOptions, ScoringOptions, Split, check_scoring
from lightning_gen.cli.truncating import TruncationOptions
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation import AUTO, ScoreCard
from lightning_gen.lightning_compat import attached_trainer
from lightning_gen.models.base import GenerativeModule
from lightning_gen.models.checkpoint import find_checkpoint, load_model, read_data_options
from lightning_gen.models.exported import is_exported
from lightning_gen.models.hub import HUB_ID, download
from lightning_gen.types import IterativeModel, SamplingOptions, StyleMapper

Model = GenerativeModule[Any]


def load(path: str | Path, *, raw: bool = False, device: str = "cpu", revision: str | None = None) -> Model:
    """Load a trained model, in eval mode.

    Args:
        path: a checkpoint; a run's folder (its best checkpoint, otherwise its last) or an experiment's (its newest
            run); a folder of the command ``export``; or owner/name of a model on the Hugging Face Hub.
        raw: use the trained weights instead of their moving average. An exported model has one of the two.
        device: device of the weights: cpu, cuda, mps ...
        revision: branch, tag or commit of a model on the Hub.

    Returns:
        The model. ``model.sample(16)`` or its other capabilities make images in [-1, 1]; ``model(...)`` calls its
        network object.

    Raises:
        InputError: if there is no such model, or its files cannot be read or do not fit.
    """
    with python_names():
        place = find_place(path, revision)
        model = load_model(find_checkpoint(place))
        if raw and is_exported(place) and model.use_ema:
            raise InputError(f"{place} has averaged weights only; export it with --raw to have the trained ones")
        model.use_ema = model.use_ema and not raw
        return model.to(resolve_device(device))


def score(
    model: Model | str | Path,
    data: ImageData | str | Path | None = None,
    metrics: Sequence[str] | None = None,
    *,
    features: str = AUTO,
    num_samples: int | None = None,
    split: Split | None = None,
    seed: int = 1,
    draws: int = 1,
    band_draws: int | None = None,
    raw: bool = False,
    batch_size: int = 100,
    importance_samples: int | None = None,
    reconstructions: bool = False,
    back: bool = False,
    inception_weights: str | Path | None = None,
    lpips_weights: str | Path | None = None,
    sampling: SamplingOptions = DEFAULT_SAMPLING,
    truncation: float | None = None,
    truncated_layers: int | None = None,
    device: str | None = None,
    out: str | Path | None = None,
) -> ScoreCard:
    """Score a model as the command ``evaluate`` does.

    A model that generates images is scored by its samples, one that makes images from images by its translations, and
    one that only reconstructs by its reconstructions. The model itself does not change.

    Args:
        model: a model, or what :func:`load` loads.
        data: the data that the model was trained on, or a folder or zip of real images to score against. Default: the
            data module that the model was last trained with, or that its checkpoint names.
        metrics: names of metrics, see docs/scoring.md; default: fid, where there is an extractor for it.
        features: the extractor whose features are compared; ``auto`` chooses one that needs no download.
        num_samples: number of images to generate; default: the size of the reference, at most 10,000.
        split: split of the data to score against; default: test for translations, train otherwise.
        seed: seed of the samples.
        draws: number of sample seeds, from this seed on; the card has mean and standard deviation.
        band_draws: bootstrap draws of the reference, whose scores are on the card beside the model's; 0 for none.
        raw: score the trained weights instead of their moving average.
        batch_size: number of images per batch; it has no effect on the scores.
        importance_samples: random draws per image for elbo and nll.
        reconstructions: score the reconstructions of a model that also generates images.
        back: score the translations of the targets to the domain of the inputs, for a model of both directions.
        inception_weights: file of torch-fidelity's Inception weights.
        lpips_weights: file of torchvision's AlexNet weights.
        sampling: options of models that sample iteratively; default: those of ``model.sampling``.
        truncation: psi of style-based generators; default: ``model.truncation``.
        truncated_layers: number of layers, from the coarsest, whose styles are truncated.
        device: cpu, cuda, mps ...; default: the best available.
        out: JSON file of the score card; default: none.

    Returns:
        The score card; ``card.scores`` has the numbers, and ``print(card)`` or ``rich.print(card.table())`` shows them.

    Raises:
        InputError: if an argument is invalid, or the model, the data or a file cannot be used.
    """
    with python_names():
        requested = (metrics,) if isinstance(metrics, str) else metrics
        check_scoring(
            requested,
            seed=seed,
            draws=draws,
            band_draws=band_draws,
            num_samples=num_samples,
            batch_size=batch_size,
            importance_samples=importance_samples,
        )
        for metric in requested or ():
            METRIC.check(metric, "metrics")
        checkpoint = None if isinstance(model, GenerativeModule) else find_checkpoint(find_place(model))
        subject = model if isinstance(model, GenerativeModule) else load(model)
        module, reference = find_data(data, subject, checkpoint)
        scoring = ScoringOptions(
            requested=None if requested is None else tuple(requested),
            features=features,
            batch_size=batch_size,
            inception_weights=as_path(inception_weights),
            lpips_weights=as_path(lpips_weights),
            device=resolve_device(device),
            band_draws=band_draws,
        )
        options = ModelOptions(
            reference=reference,
            num_samples=num_samples,
            split=split,
            seed=seed,
            draws=draws,
            raw=raw,
            importance_samples=importance_samples,
            reconstructions=reconstructions,
            back=back,
            root=None,
            sampling=sampling,
            truncation=TruncationOptions(truncation, truncated_layers),
        )
        with unchanged(subject):
            card = score_model(subject.to(scoring.device), module, scoring, options, show_progress=True)
        if checkpoint is not None:
            card = with_checkpoint(card, checkpoint)
        if out is not None:
            card.save(Path(out))
        return card


def find_place(path: str | Path, revision: str | None = None) -> Path:
    """The local path of a model, which is downloaded if it is on the Hugging Face Hub.

    A text of the form owner/name is a local path if it, or a folder ``owner``, exists.

    Args:
        path: a path, or owner/name.
        revision: branch, tag or commit of a model on the Hub.

    Returns:
        The path.

    Raises:
        InputError: if the model cannot be downloaded, or ``revision`` is given for a local path.
    """
    place = Path(path)
    if isinstance(path, str) and HUB_ID.fullmatch(path) and not place.exists() and not place.parent.exists():
        return download(path, revision=revision)
    if revision is not None:
        raise InputError(f"revision is of a model on the Hugging Face Hub, and {path} is a local path")
    return place


def find_data(
    data: ImageData | str | Path | None, model: Model, checkpoint: Path | None
) -> tuple[ImageData, Path | None]:
    """The data module to score with, and the folder of the real images if they are not the module's.

    Args:
        data: the argument of :func:`score`.
        model: the model.
        checkpoint: file of the model; None for a model in memory.

    Returns:
        Both.

    Raises:
        InputError: if there is no data.
    """
    if isinstance(data, ImageData):
        return data, None
    reference = as_path(data)
    trainer = attached_trainer(model)
    known = getattr(trainer, "datamodule", None)
    if checkpoint is not None and read_data_options(checkpoint):
        known = dataset_of(checkpoint, None)
    if isinstance(known, ImageData):
        return known, reference
    if reference is None:
        raise InputError(f"the data of this {type(model).__name__} is unknown; pass data, an ImageData or a folder")
    return ImageData("folder", root=str(reference), image_size=model.image_shape[1]), None


def as_path(path: str | Path | None) -> Path | None:
    """A path, or None."""
    return None if path is None else Path(path)


@contextmanager
def unchanged(model: Model) -> Iterator[None]:
    """Give a model its device, its choice of weights and its options of sampling back after a block.

    Args:
        model: the model.

    Yields:
        Nothing.
    """
    device, use_ema = model.device, model.use_ema
    sampling = model.sampling if isinstance(model, IterativeModel) else None
    styles = (model.truncation, model.truncated_layers) if isinstance(model, StyleMapper) else None
    try:
        yield
    finally:
        model.use_ema = use_ema
        if isinstance(model, IterativeModel) and sampling is not None:
            model.sampling = sampling
        if isinstance(model, StyleMapper) and styles is not None:
            model.truncation, model.truncated_layers = styles
        model.to(device)


@contextmanager
def python_names() -> Iterator[None]:
    """Name the arguments in messages as in Python: ``draws`` where the command line says ``--draws``.

    Yields:
        Nothing.

    Raises:
        InputError: in place of one of the block.
    """
    try:
        yield
    except InputError as error:
        raise InputError(re.sub(r"(?<![\w-])--(?=\w)", "", str(error))) from None
