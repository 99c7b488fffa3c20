"""Reads CelebA: a folder or zip archive of numbered faces, in the official partition."""

from pathlib import Path

from pytorch_lightning.utilities import rank_zero_warn
from torchvision.datasets import CelebA

from lightning_gen.data.files import image_names, open_tree
from lightning_gen.data.readers import download
from lightning_gen.data.sources import FileSource
from lightning_gen.data.splits import SPLITS, ReadOptions, Splits
from lightning_gen.errors import InputError

NUM_IMAGES = 202_599
LAST_NUMBERS = {"train": 162_770, "val": 182_637, "test": NUM_IMAGES}
"""The number of the last image of each split in the official partition."""


def read_celeba(options: ReadOptions) -> Splits:
    """Read CelebA, without labels.

    The splits are those of ``list_eval_partition.txt`` beside the images, or else the official ones by number. An
    :class:`InputError` is raised when images are missing, the list is invalid, or the download fails.
    """
    root = options.root
    candidates = [
        path
        for folder in (root / "celeba", root)
        for path in (folder / "img_align_celeba", folder / "img_align_celeba.zip")
    ]
    if options.download and not any(path.exists() for path in candidates):
        download("celeba", lambda: CelebA(root, download=True), options)
    images = next((path for path in candidates if path.exists()), None)
    if images is None:
        raise InputError(f"celeba is missing under {root}; {options.missing_help}")
    tree = open_tree(images)
    files = {name.rpartition("/")[2]: name for name in image_names(tree)}
    partition = images.with_name("list_eval_partition.txt")
    splits = _read_partition(partition) if partition.is_file() else _partition_by_number(files, images)
    missing = [name for names in splits.values() for name in names if name not in files]
    if missing:
        raise InputError(
            f"{images} lacks {len(missing)} of the images in {partition}, the first {missing[0]}; it is incomplete: "
            f"unpack img_align_celeba.zip again, or put the zip itself in place of the folder"
        )
    if empty := [split for split, names in splits.items() if not names]:
        raise InputError(f"{images} has no {' and no '.join(empty)} images; it is incomplete: {options.missing_help}")
    return {
        split: FileSource(f"celeba/{split}", tree, [files[name] for name in names], None)
        for split, names in splits.items()
    }


def _read_partition(path: Path) -> dict[str, list[str]]:
    """Read the official list, a line ``000001.jpg 0`` per image: 0 train, 1 validation, 2 test."""
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    try:
        for line in path.read_text().splitlines():
            name, number = line.split()
            splits[SPLITS["012".index(number)]].append(name)
    except (OSError, ValueError, IndexError):
        raise InputError(f"{path} is not a partition list; its lines should look like '000001.jpg 0'") from None
    return splits


def _partition_by_number(files: dict[str, str], images: Path) -> dict[str, list[str]]:
    """The official partition, from the numbers in the files' names."""
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in files:
        stem = name.partition(".")[0]
        if not stem.isdecimal():
            raise InputError(f"{images} contains {name}; CelebA's images are named 000001.jpg to {NUM_IMAGES}.jpg")
        split = next((split for split, last in LAST_NUMBERS.items() if int(stem) <= last), "test")
        splits[split].append(name)
    if len(files) != NUM_IMAGES:
        rank_zero_warn(f"{images} contains {len(files):,} of CelebA's {NUM_IMAGES:,} images")
    return splits
