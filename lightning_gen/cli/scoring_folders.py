"""Scores a folder of images against another."""

from collections import Counter
from pathlib import Path, PurePosixPath

from lightning_gen.cli.generation import DEFAULT_SAMPLING
from lightning_gen.cli.scoring_options import ScoringOptions
from lightning_gen.data import ImageData, folder_set, unequal_set
from lightning_gen.data.files import image_names, open_tree
from lightning_gen.errors import InputError
from lightning_gen.evaluation import ScoreCard, differ_in_size, score_images, smallest_side
from lightning_gen.types import ImageSet, PairSet, SamplingOptions


def score_folder(
    generated: Path,
    reference: Path | None,
    scoring: ScoringOptions,
    *,
    image_size: int | None,
    sampling: SamplingOptions,
    paired: bool,
    scale: int | None,
) -> ScoreCard:
    """Score a folder or zip of images against another.

    Args:
        generated: the images to score.
        reference: the real images.
        scoring: options that apply to checkpoints, too.
        image_size: height and width to which images are resized.
        sampling: must be the default, because no model is sampled.
        paired: whether each image is also compared with the real image of the same name.
        scale: scale of super-resolution, with ``paired``; None: luma is not compared.

    Returns:
        The score card, on every process.

    Raises:
        InputError: when there is no reference, an option needs a model, or the images cannot be read.
    """
    if reference is None:
        raise InputError("--generated needs --reference, a folder of real images to score against")
    if sampling != DEFAULT_SAMPLING:
        raise InputError("options of sampling need a model; name its --ckpt")
    if scoring.likelihoods:
        raise InputError(f"{scoring.likelihoods[0]} needs a model with a likelihood; name its --ckpt")
    if scale is not None and not paired:
        raise InputError("--scale is the border of the scores of pairs; add --paired, or leave it out")
    if paired:
        return score_pairs(generated, reference, scoring, image_size=image_size, scale=scale)
    fake, real = folder_set(generated, image_size), folder_set(reference, image_size)
    return score_images(
        fake,
        real,
        scoring.extractor(classifier_data(scoring, reference, real)),
        metrics=scoring.image_metrics,
        batch_size=scoring.batch_size,
        band_draws=scoring.band_draws,
    )


def score_pairs(
    generated: Path, reference: Path, scoring: ScoringOptions, *, image_size: int | None, scale: int | None
) -> ScoreCard:
    """Score a folder of images against their partners in another. Images of several sizes have no feature metrics.

    Args:
        generated: the images to score.
        reference: the real images.
        scoring: options that apply to checkpoints, too.
        image_size: height and width to which images are resized; None: their own.
        scale: scale of super-resolution; None: luma is not compared.

    Returns:
        The score card, on every process.

    Raises:
        InputError: when an image has no partner, partners differ in size, or the border covers an image.
    """
    partners = partner_indices(generated, reference)
    fake, real = (read_images(path, image_size) for path in (generated, reference))
    if scale is not None and (side := smallest_side(real)) <= 2 * scale:
        raise InputError(
            f"--scale is {scale}, and borders of {scale} pixels leave nothing of an image of {side} pixels"
        )
    if differ_in_size(PairSet(fake, real, True)):
        extractor, metrics = None, () if scoring.requested is None else scoring.image_metrics
    else:
        extractor, metrics = scoring.extractor_of_pairs(classifier_data(scoring, reference, real))
    return score_images(
        fake,
        real,
        extractor,
        metrics=metrics,
        batch_size=scoring.batch_size,
        band_draws=scoring.band_draws,
        partners=partners,
        border=scale,
        lpips=scoring.lpips(),
    )


def read_images(path: Path, image_size: int | None) -> ImageSet:
    """The images of a folder or zip at a size; None: their own sizes, which may differ."""
    if image_size is None and len({*(images := unequal_set(path)).sizes}) > 1:
        return images
    return folder_set(path, image_size)


def classifier_data(scoring: ScoringOptions, reference: Path, real: ImageSet) -> ImageData | None:
    """The real images as data that ``classifier`` is trained on; None for another extractor."""
    if scoring.features != "classifier":
        return None
    return ImageData("folder", root=str(reference), image_size=int(real[:1].shape[-1]))


def partner_indices(generated: Path, reference: Path) -> list[int]:
    """The index of each image's partner: the image with the same path, without its ending, in the other folder.

    Args:
        generated: a folder or zip of images.
        reference: another.

    Returns:
        For each image of ``generated``, in the order of their names, an index into those of ``reference``.

    Raises:
        InputError: when an image has no partner, or two.
    """
    names, partners = ([stem(name) for name in image_names(open_tree(path))] for path in (generated, reference))
    repeated = [name for name, num in Counter(partners).items() if num > 1]
    if repeated:
        raise InputError(f"{reference} contains several images named {repeated[0]}; partners need one name each")
    index = {name: position for position, name in enumerate(partners)}
    missing = [name for name in names if name not in index]
    if missing:
        raise InputError(
            f"{generated} contains {missing[0]}, and {reference} no image of that name; with --paired, partners have "
            "equal names"
        )
    return [index[name] for name in names]


def stem(name: str) -> str:
    """A file's relative path without its ending."""
    return str(PurePosixPath(name).with_suffix(""))
