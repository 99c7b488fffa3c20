"""The data module: from a dataset's name to batches in [-1, 1] on the device."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from pytorch_lightning import LightningDataModule

from lightning_gen.data.binarize import Binarize, drawn_anew
from lightning_gen.data.datasets import Name, all_images, find, without
from lightning_gen.data.decode import Framing
from lightning_gen.data.loader import Loader, Order, StoredBatch
from lightning_gen.data.packing import OnCorrupt, PackedImages, pack, scan_once, store_beside
from lightning_gen.data.sources import Source
from lightning_gen.data.stacking import STACKED_SIZES, StackedImages, stack
from lightning_gen.errors import InputError
from lightning_gen.images import to_float
from lightning_gen.types import Batch, ImageSet, ImageShape

Cache = Literal["auto", "device", "memory", "disk"]


class Known(NamedTuple):
    """What is known of a dataset before one looks.

    Attributes:
        size: default height and width.
        channels: of an image.
        num_classes: 0 where there are no labels.
        crop: side of the centre square that is cut out before resizing.
        padded: whether the images grow to the default size by a black border.
        stacked: how many images of the source make one image.
    """

    size: int
    channels: int
    num_classes: int
    crop: int | None = None
    padded: bool = False
    stacked: int = 1


KNOWN = {
    "digits": Known(16, 1, 10),
    "mnist": Known(32, 1, 10, padded=True),
    "fashion_mnist": Known(32, 1, 10, padded=True),
    "stacked_mnist": Known(32, 3, 1000, padded=True, stacked=3),
    "cifar10": Known(32, 3, 10),
    "celeba": Known(64, 3, 0, crop=148),
}
FOLDER_SIZE = 64
DEVICE_SHARE, MEMORY_SHARE = 0.25, 0.25  # of the accelerator's free memory and the machine's memory, taken by auto


class ImageData(LightningDataModule):
    """Serves a dataset of images to a Trainer, and its splits as image sets to evaluation.

    The images are decoded once, into an array in ``.lightning_gen`` beside the data (in the user's cache where that
    cannot be written); a changed source or another size makes a new array. The order of training is a function of
    (seed, epoch, rank), and a run resumes at the exact batch. Validation and test never flip, pad or drop an image.

    Args:
        name: the dataset. ``digits`` (1,797 handwritten digits of scikit-learn, nothing to download), ``mnist``,
            ``fashion_mnist``, ``stacked_mnist`` (three random digits of MNIST as the channels of one image, 1,000
            classes), ``cifar10``, ``celeba``, or ``folder``: any folder or zip of images, in class sub-folders or not,
            under ``train`` and ``val`` (``valid``, ``validation``) or ``test`` or not.
        root: where the data lies, in torchvision's layout (``root/MNIST/raw``, also for ``stacked_mnist``;
            ``root/cifar-10-batches-py``, ``root/celeba``); CelebA also as ``img_align_celeba`` or
            ``img_align_celeba.zip`` right in ``root``; for ``folder``, the folder or zip itself.
        image_size: height and width of the images; by default 16 for digits, 64 for celeba and folder, 32 for the
            others. Images are cut to the largest centred square (CelebA to the customary 148) and resized with an
            antialiased bicubic filter; MNIST (stacked or not) and Fashion-MNIST are padded from 28 to exactly 32 with
            black.
        channels: 1 for grey or 3 for RGB; by default as in the source: 3 as soon as one image has colour.
            ``stacked_mnist`` has 3.
        batch_size: images in a training batch, on each process.
        eval_batch_size: images in a validation or test batch at most, on each process; ``batch_size`` by default.
        flip: mirror random training images left to right.
        cache: where the decoded images are kept while running: on the ``device``, in ``memory``, or on ``disk``;
            ``auto`` takes the first of these where a split fills at most a quarter.
        on_corrupt: whether a file that cannot be decoded stops the run (``raise``) or is left out with a warning.
        download: fetch a missing dataset through torchvision.
        seed: seed of shuffling and flips; by default the one given to ``seed_everything``, else 0.
        drop_last: leave out the training images that do not fill an epoch's last batch; otherwise the epoch is cut
            into batches of nearly equal size.
        holdout: fraction of a folder without splits that is held out as val and test, the same for every seed.
        binarize: make each pixel black or white with the probability of its grey value: ``static`` once for all,
            ``dynamic`` anew whenever a training image is seen (validation, test and scoring see one fixed draw).
        leave_out: classes that training and validation do not see; the test split has them (to look for anomalies).

    Raises:
        InputError: when an argument is out of range or, later, the data is missing or damaged.
    """

    def __init__(
        self,
        name: Name = "digits",
        root: str = "data",
        image_size: int | None = None,
        channels: Literal[1, 3] | None = None,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        flip: bool = False,
        cache: Cache = "auto",
        on_corrupt: OnCorrupt = "raise",
        download: bool = False,
        seed: int | None = None,
        drop_last: bool = True,
        holdout: float = 0.1,
        binarize: Binarize | None = None,
        leave_out: tuple[int, ...] = (),
    ):
        super().__init__()
        choices: dict[str, tuple[Any, Any]] = {
            "name": (name, Name),
            "cache": (cache, Cache),
            "on_corrupt": (on_corrupt, OnCorrupt),
        }
        if binarize is not None:
            choices["binarize"] = (binarize, Binarize)
        for option, (choice, allowed) in choices.items():
            if choice not in get_args(allowed):
                raise InputError(f"data.{option} is {choice!r}: it must be one of {', '.join(get_args(allowed))}")
        if channels not in (None, 1, 3):
            raise InputError(f"data.channels is {channels}: it must be 1 (grey) or 3 (RGB)")
        if name == "stacked_mnist" and channels == 1:
            raise InputError("data.channels is 1: the three digits of stacked_mnist are its channels, so it has 3")
        if name == "stacked_mnist" and leave_out:
            raise InputError("data.leave_out is of no use for stacked_mnist, whose images are three digits; take mnist")
        sizes = {"image_size": image_size, "batch_size": batch_size, "eval_batch_size": eval_batch_size}
        for option, value in sizes.items():
            if value is not None and value < 1:
                raise InputError(f"data.{option} is {value}: it must be at least 1")
        if seed is not None and seed < 0:
            raise InputError(f"data.seed is {seed}: it must not be negative")
        if not 0 < holdout < 1:
            raise InputError(f"data.holdout is {holdout}: it must lie between 0 and 1, such as 0.1")
        self.save_hyperparameters(logger=False)
        self.dataset = name
        self.root = Path(root).expanduser()
        self.image_size = image_size
        self.channels = channels
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.flip = flip
        self.cache = cache
        self.on_corrupt = on_corrupt
        self.download = download
        self.drop_last = drop_last
        self.holdout = holdout
        self.binarize = binarize
        self.leave_out = tuple(leave_out)
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r}, {str(self.root)!r})"  # Lightning's would run through the data

    @property
    def image_shape(self) -> ImageShape:
        """(channels, height, width) of the images; a folder is looked through for colour when none are forced."""
        size = self.image_size or self._known.size
        return (self._known.channels, size, size)

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 where the data has no labels."""
        return self._known.num_classes

    @property
    def skipped(self) -> int:
        """Number of files that could not be decoded and were left out."""
        return sum(len(images.skipped) for images in {images.name: images for images in self._packed.values()}.values())

    def image_set(self, split: str) -> ImageSet:
        """The images of one split, unflipped and in a fixed order; they are decoded first if need be.

        Args:
            split: ``train``, ``val`` or ``test``.

        Returns:
            The image set.

        Raises:
            InputError: when the split has another name, or the data is missing or damaged.
        """
        if split not in ("train", "val", "test"):
            raise InputError(f"split {split!r} is none of train, val and test")
        return self._sets[split]

    def prepare_data(self) -> None:
        """Decode the images, in one process; Lightning lets the others wait."""
        _ = self._packed
        if self.binarize == "dynamic":
            _ = self._grey

    def train_dataloader(self) -> Loader:
        """Training batches, shuffled (in one fixed order when overfitting)."""
        overfit = self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]
        dynamic = self.binarize == "dynamic"
        packed = self._grey if dynamic else self._packed
        return self._loader(
            "train",
            self.batch_size,
            packed,
            shuffle=not overfit,
            drop_last=self.drop_last,
            flip=self.flip,
            anew=dynamic,
        )

    def val_dataloader(self) -> Loader:
        """Validation batches, every image once."""
        return self._loader("val", self.eval_batch_size, self._packed)

    def test_dataloader(self) -> Loader:
        """Test batches, every image once."""
        return self._loader("test", self.eval_batch_size, self._packed)

    def predict_dataloader(self) -> Loader:
        """The test batches."""
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: StoredBatch, dataloader_idx: int) -> Batch:
        """Mirror the images that the loader chose, draw black and white, convert to [-1, 1]; runs on the device.

        Args:
            batch: as gathered.
            dataloader_idx: not used.

        Returns:
            What the model gets, in the Trainer's precision.
        """
        images = batch.images
        if batch.flips is not None:
            images = torch.where(batch.flips[:, None, None, None], images.flip(-1), images)
        if batch.binarize_seed is not None:
            images = drawn_anew(images, batch.binarize_seed)
        ready = Batch(to_float(images), batch.labels)
        return self.trainer.precision_plugin.convert_input(ready) if self.trainer else ready

    def _loader(
        self,
        split: str,
        batch_size: int,
        sets: Mapping[str, PackedImages],
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        flip: bool = False,
        anew: bool = False,
    ) -> Loader:
        served, packed = self._sets[split], sets[split]
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        order = Order(len(served), batch_size, rank, ranks, self.seed if shuffle else None, drop_last)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        tier = _tier(packed.array.nbytes, device, ranks) if self.cache == "auto" else self.cache
        array = packed.array if tier == "disk" else np.array(packed.array)
        images = torch.from_numpy(array).to(device) if tier == "device" and device.type != "cpu" else array
        stacks = served.stacks if isinstance(served, StackedImages) else None
        return Loader(
            images,
            served.labels,
            order,
            flip_seed=self.seed if flip else None,
            key=served.key,
            binarize_seed=self.seed if anew else None,
            stacks=stacks,
        )

    @cached_property
    def _known(self) -> Known:
        """What the data is; only for a folder does this look at the disk."""
        known = KNOWN.get(self.dataset)
        channels = self.channels
        if known is None:
            sources = self._find().values()
            labels = [source.labels for source in sources if source.labels is not None]
            if channels is None:
                scans = [scan_once(source, self._store) for source in sources]
                channels = 3 if any(scan.colour for scan in scans) else 1
            known = Known(FOLDER_SIZE, channels, 1 + max((int(part.max()) for part in labels), default=-1))
        return known._replace(channels=channels or known.channels)

    @cached_property
    def _sets(self) -> dict[str, PackedImages | StackedImages]:
        """What is served of each split."""
        if self._known.stacked == 1:
            return {**self._packed}
        sets: dict[str, PackedImages | StackedImages] = {
            split: stack(f"{self.dataset}/{split}", self._packed[split], num, self._known.stacked)
            for split, num in STACKED_SIZES.items()
        }
        return sets | {"val": sets["test"]}

    @cached_property
    def _packed(self) -> dict[str, PackedImages]:
        """What lies decoded on disk of each split, and is scored."""
        return self._pack(binarized=self.binarize is not None)

    @cached_property
    def _grey(self) -> dict[str, PackedImages]:
        """The grey values from which training draws black and white anew."""
        return self._pack(binarized=False)

    def _pack(self, binarized: bool) -> dict[str, PackedImages]:
        channels, size, _ = self.image_shape
        known = self._known
        padded = known.padded and size == known.size
        framing = Framing(channels // known.stacked, size, known.crop, padded, binarized)
        splits = self._find()
        if binarized:
            splits = {split: replace(source, name=f"{source.name}-binarized") for split, source in splits.items()}
        unique = {source.name: source for source in splits.values()}
        packed = {
            name: pack(source, scan_once(source, self._store), framing, self._store, self.on_corrupt)
            for name, source in unique.items()
        }
        return {split: packed[source.name] for split, source in splits.items()}

    def _find(self) -> dict[str, Source]:
        splits = find(self.dataset, self.root, download=self.download, holdout=self.holdout)
        return without(splits, self.leave_out) if self.leave_out else splits

    @property
    def _store(self) -> Path:
        return store_beside(self.root.parent if self.dataset == "folder" else self.root)


def folder_set(path: str | Path, image_size: int | None = None, channels: int | None = None) -> ImageSet:
    """All images of a folder or zip as one image set, for scoring one folder against another.

    Args:
        path: the folder or zip.
        image_size: cut to a centred square and resized to this; None keeps the images' own size.
        channels: 1 or 3; by default 1 where all images are grey.

    Returns:
        The image set.

    Raises:
        InputError: when there are no images, one cannot be decoded, or they differ in size and none was named.
    """
    path = Path(path).expanduser()
    source, store = all_images(path), store_beside(path.parent)
    scan = scan_once(source, store)
    if not scan.sizes:
        raise InputError(f"none of the {len(source)} images of {path} can be decoded")
    if image_size is None and len(scan.sizes) > 1:
        (height, width), (other_height, other_width) = scan.sizes
        raise InputError(
            f"the images of {path} differ in size ({width}x{height}, {other_width}x{other_height} ...): name an image "
            "size to bring them to"
        )
    return pack(source, scan, Framing(channels or (3 if scan.colour else 1), image_size), store, "raise")


def _tier(num_bytes: int, device: torch.device, ranks: int) -> Cache:
    """Where images are kept by default: as near to the device as they fit with ease."""
    if device.type == "cuda" and num_bytes <= DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return "device"
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if num_bytes * ranks <= MEMORY_SHARE * memory:
            return "memory"
    return "disk"
