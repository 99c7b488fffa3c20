"""The splits of a dataset: train, val and test.

A dataset without a validation set has its test set as ``val``, or a fixed part of train (``data.val``).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from lightning_gen.data.sources import Source
from lightning_gen.errors import InputError
from lightning_gen.noise import mix_seed

SPLITS = ("train", "val", "test")
Splits = dict[str, Source]
"""One source for each name in ``SPLITS``."""


class Domains(NamedTuple):
    """The splits of two domains, of which models make the one from the other: A and B for the direction ``AtoB``.

    Attributes:
        inputs: what models make images from; without a split where these are computed from its images.
        images: what models make.
    """

    inputs: Splits
    images: Splits


Validation = Literal["test", "holdout"]


class ReadOptions(NamedTuple):
    """Arguments of the functions that read a dataset.

    Attributes:
        root: folder or zip archive of the data.
        download: download missing data.
        holdout: fraction of the images held out from training, for data that has no splits.
        files_help: the files that are needed and their folder, for messages, as in "put FILES into FOLDER".
    """

    root: Path
    download: bool
    holdout: float
    files_help: str

    @property
    def missing_help(self) -> str:
        """What to do about missing files."""
        return f"put {self.files_help}, name another folder by data.root, or set data.download to true"


def train_test_splits(train: Source, test: Source) -> Splits:
    """The splits of a dataset without a validation set: ``val`` is the test set."""
    return {"train": train, "val": test, "test": test}


def hold_out_val(splits: Splits, fraction: float) -> Splits:
    """Replace a ``val`` that is the test set by a fixed random part of train, which training then leaves out.

    Args:
        splits: the sources.
        fraction: fraction of train to hold out, at least one image.

    Returns:
        New splits.

    Raises:
        InputError: when the data has its own ``val``, or train has fewer than two images.
    """
    train, val, test = (splits[split] for split in SPLITS)
    if val is not test:
        raise InputError(f"data.val is holdout, and {val.name} is a validation set of its own; leave it out")
    num = round(len(train) * fraction) or 1
    if num >= len(train):
        raise InputError(f"data.val is holdout, and {train.name} has one image; at least two are needed")
    order = np.random.default_rng(mix_seed("val")).permutation(len(train))
    title = train.name.rsplit("/", 1)[0]
    return {
        "train": train.subset(f"{title}-without-val/train", np.sort(order[num:])),
        "val": train.subset(f"{title}-held-out/val", np.sort(order[:num])),
        "test": test,
    }


def exclude_classes(splits: Splits, classes: Sequence[int]) -> Splits:
    """Remove classes from train and val; test keeps all classes.

    Args:
        splits: labelled sources.
        classes: the classes to remove.

    Returns:
        New splits.

    Raises:
        InputError: when the data has no labels, a class does not exist, or no image remains.
    """
    remaining = {**splits}
    for split in ("train", "val"):
        source = splits[split]
        if source.labels is None:
            raise InputError(f"data.leave_out is {list(classes)}, and {source.name} has no labels")
        num_classes = 1 + max(int(part.labels.max()) for part in splits.values() if part.labels is not None)
        if invalid := [label for label in classes if not 0 <= label < num_classes]:
            raise InputError(
                f"data.leave_out is {list(classes)}; there is no class {invalid[0]}, only 0 to {num_classes - 1}"
            )
        indices = np.flatnonzero(~np.isin(source.labels, list(classes)))
        if not len(indices):
            raise InputError(f"data.leave_out is {list(classes)}, which leaves no image of {source.name}")
        remaining[split] = source.subset(f"{source.name}-without-{'-'.join(map(str, sorted(classes)))}", indices)
    return remaining


def split_halves(splits: Splits) -> tuple[Splits, Splits]:
    """Cut the training images into two fixed random halves, of which images and inputs are taken without partners.

    Args:
        splits: the sources.

    Returns:
        The splits with one half as train, and with the other; val and test are complete in both.

    Raises:
        InputError: when there are fewer than two training images.
    """
    train = splits["train"]
    if len(train) < 2:
        raise InputError(f"data.paired is false, and {train.name} has one image; at least two are needed")
    order = np.random.default_rng(mix_seed("domains")).permutation(len(train))
    title, middle = train.name.rsplit("/", 1)[0], -(-len(train) // 2)
    return (
        {**splits, "train": train.subset(f"{title}-first-half/train", np.sort(order[:middle]))},
        {**splits, "train": train.subset(f"{title}-second-half/train", np.sort(order[middle:]))},
    )
