"""The datasets by name, each as three sources: train, val and test.

Where a dataset has no validation split of its own, val is its test split.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pytorch_lightning.utilities import rank_zero_warn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torchvision.datasets import CIFAR10, MNIST, CelebA, FashionMNIST

from lightning_gen.data.sources import (
    ArraySource,
    FileSource,
    Folder,
    IndexArray,
    Source,
    Zip,
    image_names,
    open_tree,
)
from lightning_gen.errors import InputError
from lightning_gen.noise import mix_seed

Name = Literal["digits", "mnist", "fashion_mnist", "stacked_mnist", "cifar10", "celeba", "folder"]
Splits = dict[str, Source]

IDX_FILES = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (unpacked)"
)
CELEBA_IMAGES = 202_599
CELEBA_LAST = {"train": 162_770, "val": 182_637, "test": CELEBA_IMAGES}  # the official partition is by number
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def find(name: Name, root: Path, *, download: bool, holdout: float) -> Splits:
    """Find a dataset.

    Args:
        name: which.
        root: where it lies, as ``ImageData`` says.
        download: fetch it first where it is missing.
        holdout: fraction of a folder without splits that is kept from training.

    Returns:
        The sources of train, val and test.

    Raises:
        InputError: when it is missing or damaged, with the files that would be right.
    """
    if name == "digits":
        return _digits()
    if name in ("mnist", "stacked_mnist"):  # the digits that are stacked are MNIST's
        return _torchvision("mnist", MNIST, root, download, f"{IDX_FILES} into {root / 'MNIST' / 'raw'}")
    if name == "fashion_mnist":
        return _torchvision(name, FashionMNIST, root, download, f"{IDX_FILES} into {root / 'FashionMNIST' / 'raw'}")
    if name == "cifar10":
        return _torchvision(name, CIFAR10, root, download, f"cifar-10-python.tar.gz, unpacked, into {root}")
    if name == "celeba":
        return _celeba(root, download)
    return _folder(root, holdout)


def without(splits: Splits, classes: Sequence[int]) -> Splits:
    """Keep some classes out of training and validation; the test split stays whole.

    Args:
        splits: the sources.
        classes: what to leave out.

    Returns:
        The sources.

    Raises:
        InputError: when the data has no labels, a class does not exist, or nothing is left.
    """
    kept = {**splits}
    for split in ("train", "val"):
        source = splits[split]
        if source.labels is None:
            raise InputError(f"data.leave_out is {list(classes)}, and {source.name} has no labels")
        num = 1 + max(int(part.labels.max()) for part in splits.values() if part.labels is not None)
        if wrong := [label for label in classes if not 0 <= label < num]:
            raise InputError(f"data.leave_out is {list(classes)}: there is no class {wrong[0]}, only 0 to {num - 1}")
        indices = np.flatnonzero(~np.isin(source.labels, list(classes)))
        if not len(indices):
            raise InputError(f"data.leave_out is {list(classes)}, which leaves no image of {source.name}")
        kept[split] = source.take(f"{source.name}-without-{'-'.join(map(str, sorted(classes)))}", indices)
    return kept


def all_images(path: Path) -> FileSource:
    """Every image of a folder or zip as one source without labels.

    Args:
        path: the folder or archive.

    Returns:
        The source.
    """
    tree = open_tree(path)
    return FileSource(f"{path.resolve().stem}/all", tree, image_names(tree), None)


def _train_test(train: Source, test: Source) -> Splits:
    return {"train": train, "val": test, "test": test}


def _digits() -> Splits:
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    parts = train_test_split(images, labels, test_size=360, stratify=labels, random_state=0)
    return _train_test(ArraySource("digits/train", parts[0], parts[2]), ArraySource("digits/test", parts[1], parts[3]))


def _torchvision(name: str, dataset: Callable[..., MNIST | CIFAR10], root: Path, download: bool, right: str) -> Splits:
    _download(name, lambda: dataset(root, download=True), download, right)
    sources = []
    for split in ("train", "test"):
        try:
            data = dataset(root, train=split == "train")
        except Exception as error:  # a file cut short raises all sorts in torchvision's parsers
            raise InputError(f"{name} is missing or damaged under {root} ({error}): {_remedy(right)}") from None
        sources.append(ArraySource(f"{name}/{split}", np.asarray(data.data), np.asarray(data.targets, dtype=np.int64)))
    return _train_test(*sources)


def _celeba(root: Path, download: bool) -> Splits:
    right = f"img_align_celeba.zip (or its folder) and list_eval_partition.txt into {root / 'celeba'}"
    places = [
        place
        for folder in (root / "celeba", root)
        for place in (folder / "img_align_celeba", folder / "img_align_celeba.zip")
    ]
    if not any(place.exists() for place in places):
        _download("celeba", lambda: CelebA(root, download=True), download, right)
    place = next((place for place in places if place.exists()), None)
    if place is None:
        raise InputError(f"celeba is missing under {root}: {_remedy(right)}")
    tree = open_tree(place)
    files = {name.rpartition("/")[2]: name for name in image_names(tree)}
    partition = place.with_name("list_eval_partition.txt")
    splits = _listed(partition) if partition.exists() else _numbered(files, place)
    absent = [name for names in splits.values() for name in names if name not in files]
    if absent:
        raise InputError(
            f"{place} lacks {len(absent)} of the images in {partition}, the first {absent[0]}: it is not wholly "
            f"unpacked; unpack img_align_celeba.zip again, or leave the zip itself there in place of the folder"
        )
    if empty := [split for split, names in splits.items() if not names]:
        raise InputError(f"{place} has no {' and no '.join(empty)} images: it is not wholly unpacked; {_remedy(right)}")
    return {
        split: FileSource(f"celeba/{split}", tree, [files[name] for name in names], None)
        for split, names in splits.items()
    }


def _listed(partition: Path) -> dict[str, list[str]]:
    """The official list: a line ``000001.jpg 0`` an image, 0 train, 1 validation, 2 test."""
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    try:
        for line in partition.read_text().splitlines():
            name, part = line.split()
            splits[("train", "val", "test")[int(part)]].append(name)
    except (ValueError, IndexError):
        raise InputError(f"{partition} is no partition list: its lines should read like '000001.jpg 0'") from None
    return splits


def _numbered(files: dict[str, str], place: Path) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for name in files:
        stem = name.partition(".")[0]
        if not stem.isdecimal():
            raise InputError(f"{place} holds {name}: CelebA's images are numbered, 000001.jpg to {CELEBA_IMAGES}.jpg")
        splits[next(split for split, last in CELEBA_LAST.items() if int(stem) <= last or split == "test")].append(name)
    if len(files) != CELEBA_IMAGES:
        rank_zero_warn(f"{place} holds {len(files):,} of CelebA's {CELEBA_IMAGES:,} images")
    return splits


def _folder(root: Path, holdout: float) -> Splits:
    tree = open_tree(root)
    names = image_names(tree)
    title = root.resolve().stem
    depth = _common_depth(names)
    tops = {name.split("/")[depth] for name in names if name.count("/") > depth}
    flat = any(name.count("/") == depth for name in names)
    if not flat and "train" in tops and len(tops) > 1 and tops <= set(SPLIT_FOLDERS):
        return _folder_splits(title, tree, names, depth)
    whole = FileSource(title, tree, names, _labels(names, _classes(names, depth), depth))
    held = round(len(names) * holdout) or 1
    if held >= len(names):
        raise InputError(f"{root} holds {len(names)} image: at least two are needed, one to train on and one to test")
    order = np.random.default_rng(mix_seed("holdout")).permutation(len(names))
    train, test = np.sort(order[held:]), np.sort(order[:held])
    return _train_test(whole.take(f"{title}/train", train), whole.take(f"{title}/test", test))


def _folder_splits(title: str, tree: Folder | Zip, names: list[str], depth: int) -> Splits:
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for name in names:
        parts[SPLIT_FOLDERS[name.split("/")[depth]]].append(name)
    parts = {split: part for split, part in parts.items() if part}
    classes = _classes(names, depth + 1)
    sources: Splits = {
        split: FileSource(f"{title}/{split}", tree, part, _labels(part, classes, depth + 1))
        for split, part in parts.items()
    }
    sources.setdefault("val", sources.get("test", sources["train"]))
    sources.setdefault("test", sources["val"])
    return sources


def _common_depth(names: list[str]) -> int:
    """How many leading folders all names share."""
    first, last = names[0].split("/")[:-1], names[-1].split("/")[:-1]  # names are sorted
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return depth


def _classes(names: list[str], depth: int) -> list[str]:
    """The sub-folders at a depth, sorted, when every image lies in one and there are several; else none."""
    if any(name.count("/") <= depth for name in names):
        return []
    classes = sorted({name.split("/")[depth] for name in names})
    return classes if len(classes) > 1 else []


def _labels(names: list[str], classes: list[str], depth: int) -> IndexArray | None:
    if not classes:
        return None
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[name.split("/")[depth]] for name in names], dtype=np.int64)


def _download(name: str, fetch: Callable[[], object], wanted: bool, right: str) -> None:
    if not wanted:
        return
    try:
        fetch()
    except Exception as error:  # no network, a full quota, a missing downloader ...
        reason = str(error).strip().splitlines()
        raise InputError(
            f"{name} could not be downloaded ({reason[0] if reason else type(error).__name__}): fetch it by hand and "
            f"put {right}"
        ) from None


def _remedy(right: str) -> str:
    return f"put {right}, or set data.download to true"
