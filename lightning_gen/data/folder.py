"""Reads any folder or zip archive of images.

Images lie in sub-folders ``train`` and ``val`` (``valid``, ``validation``) or ``test``, or a fraction is held out.
Other sub-folders are classes. Folders that contain all images are ignored.
"""

from pathlib import Path

import numpy as np

from lightning_gen.data.decode import Framing
from lightning_gen.data.files import FileTree, image_names, open_tree
from lightning_gen.data.packing import derived_folder, pack, scan_source
from lightning_gen.data.sources import FileSource, IndexArray
from lightning_gen.data.splits import SPLITS, ReadOptions, Splits, train_test_splits
from lightning_gen.errors import InputError
from lightning_gen.noise import mix_seed
from lightning_gen.types import ImageSet

SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Split by folder name."""


def read_folder(options: ReadOptions) -> Splits:
    """Read a folder or zip archive of at least two images, with labels where its sub-folders are classes."""
    root = options.root
    tree = open_tree(root)
    names = image_names(tree)
    title = root.resolve().stem
    depth = common_depth(names)
    top_folders = {name.split("/")[depth] for name in names if name.count("/") > depth}
    has_loose_images = any(name.count("/") == depth for name in names)
    has_splits = "train" in top_folders and len(top_folders) > 1 and top_folders <= set(SPLIT_FOLDERS)
    if has_splits and not has_loose_images:
        return _read_split_folders(title, tree, names, depth)
    source = FileSource(title, tree, names, _labels(names, _classes(names, depth), depth))
    num_held_out = round(len(names) * options.holdout) or 1
    if num_held_out >= len(names):
        raise InputError(
            f"{root} contains {len(names)} image; at least two are needed, one for training and one for testing"
        )
    order = np.random.default_rng(mix_seed("holdout")).permutation(len(names))
    train, test = np.sort(order[num_held_out:]), np.sort(order[:num_held_out])
    return train_test_splits(source.subset(f"{title}/train", train), source.subset(f"{title}/test", test))


def folder_set(path: str | Path, image_size: int | None = None, channels: int | None = None) -> ImageSet:
    """All images of a folder or zip archive as one unlabelled image set, for scoring one folder against another.

    Args:
        path: the folder or archive.
        image_size: height and width, after a crop to the centred square; None: the images' own size.
        channels: 1 or 3; None: 1 where all images are grey, else 3.

    Returns:
        The image set.

    Raises:
        InputError: when there are no images, one cannot be decoded, or their sizes differ and ``image_size`` is None.
    """
    path = Path(path).expanduser()
    tree = open_tree(path)
    source = FileSource(f"{path.resolve().stem}/all", tree, image_names(tree), None)
    cache_folder = derived_folder(path.parent)
    scan = scan_source(source, cache_folder)
    if not scan.sizes:
        raise InputError(f"none of the {len(source)} images of {path} can be decoded")
    if image_size is None and len(scan.sizes) > 1:
        (height, width), (other_height, other_width) = scan.sizes
        raise InputError(
            f"the images of {path} differ in size ({width}x{height}, {other_width}x{other_height} ...); set an image "
            "size to resize them to"
        )
    return pack(source, scan, Framing(channels or (3 if scan.colour else 1), image_size), cache_folder, "raise")


def _read_split_folders(title: str, tree: FileTree, names: list[str], depth: int) -> Splits:
    """Read folders named after splits; a missing ``val`` or ``test`` is the other of the two."""
    files: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in names:
        files[SPLIT_FOLDERS[name.split("/")[depth]]].append(name)
    classes = _classes(names, depth + 1)
    sources: Splits = {
        split: FileSource(f"{title}/{split}", tree, part, _labels(part, classes, depth + 1))
        for split, part in files.items()
        if part
    }
    sources.setdefault("val", sources.get("test", sources["train"]))
    sources.setdefault("test", sources["val"])
    return sources


def common_depth(names: list[str]) -> int:
    """The number of leading folders that all (sorted) names share."""
    first, last = names[0].split("/")[:-1], names[-1].split("/")[:-1]
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return depth


def _classes(names: list[str], depth: int) -> list[str]:
    """The sorted sub-folders at a depth; none where an image lies outside them or there is only one."""
    if any(name.count("/") <= depth for name in names):
        return []
    classes = sorted({name.split("/")[depth] for name in names})
    return classes if len(classes) > 1 else []


def _labels(names: list[str], classes: list[str], depth: int) -> IndexArray | None:
    if not classes:
        return None
    label = {name: index for index, name in enumerate(classes)}
    return np.array([label[name.split("/")[depth]] for name in names], dtype=np.int64)
