"""The data module: from a dataset's name to batches in [-1, 1] on the device."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from pytorch_lightning import LightningDataModule

from lightning_gen.checks import check_above, check_at_least, check_fraction
from lightning_gen.data.binarize import Binarize, binarize_dynamic
from lightning_gen.data.datasets import DatasetInfo, DatasetName, find_dataset
from lightning_gen.data.decode import Framing
from lightning_gen.data.loader import BatchLoader, BatchOrder, StoredBatch
from lightning_gen.data.packing import OnCorrupt, PackedImages, derived_folder, pack, scan_source
from lightning_gen.data.splits import SPLITS, Splits, Validation, exclude_classes, hold_out_val
from lightning_gen.data.stacking import StackedImages, sample_stacked_images
from lightning_gen.errors import InputError
from lightning_gen.images import to_float
from lightning_gen.types import Batch, ImageSet, ImageShape

Cache = Literal["auto", "device", "memory", "disk"]
DEVICE_MEMORY_SHARE, MEMORY_SHARE = 0.25, 0.25
"""The shares of the accelerator's free memory and of the machine's memory that a split fills at most for ``auto``."""


class ImageData(LightningDataModule):
    """Serves the batches of an image dataset to a Trainer, and its splits as image sets to evaluation.

    The images are decoded once, to an array in ``.lightning_gen`` beside the data (in the user's cache where that
    cannot be written); a changed source or another image size makes a new array. The order of training is a function
    of (seed, epoch, rank), and a run resumes at the exact batch. Validation and test never flip, pad or drop an image.

    Args:
        name: the dataset: scikit-learn's ``digits``, which need no files, one of torchvision's datasets,
            ``stacked_mnist`` (three random digits of MNIST as the channels of one image, 1,000 classes), or ``folder``:
            any folder or zip of images. Its sub-folders ``train`` and ``val`` (``valid``, ``validation``) or ``test``
            are splits, and other sub-folders are classes.
        root: folder that contains the data in torchvision's layout (such as ``root/MNIST/raw``, also for
            ``stacked_mnist``); for ``folder``, the folder or zip itself. CelebA may also be ``img_align_celeba`` or
            ``img_align_celeba.zip`` directly in ``root``. A missing dataset is reported with the files it needs.
        image_size: height and width; default: the dataset's. Images are cropped to the largest centred square (CelebA
            to the customary 148) and resized with an antialiased bicubic filter; MNIST (stacked or not) and
            Fashion-MNIST are padded with black from 28 to their default of 32.
        channels: 1 for grey or 3 for RGB; default: the dataset's. A ``folder`` has 3 as soon as one image has colour;
            ``stacked_mnist`` always has 3.
        batch_size: number of images per training batch on each process.
        eval_batch_size: maximum number of images per validation or test batch on each process; default: ``batch_size``.
        flip: mirror random training images left to right.
        cache: where decoded images are kept during a run: on the ``device``, in ``memory``, or on ``disk``; ``auto`` is
            the first of these where a split takes at most a quarter of the space.
        on_corrupt: stop at a file that cannot be decoded (``raise``), or leave it out with a warning (``skip``).
        download: download a missing dataset with torchvision.
        seed: seed of shuffling, flips and binarisation; default: the seed of ``seed_everything``, else 0.
        drop_last: leave out the training images that do not fill an epoch's last batch; otherwise the epoch is cut into
            batches of almost equal size.
        holdout: fraction of a folder without splits that is held out as val and test, the same for every seed.
        val: for data without a validation set, whether ``val`` is the ``test`` set, or a fixed part of the training
            images (the fraction ``holdout``), which are then not trained on. Use ``holdout`` where a figure of ``val``
            chooses anything, such as a checkpoint or a setting.
        binarize: make each pixel white with a probability equal to its grey value, else black: ``static`` once for each
            image, ``dynamic`` again in every training batch (validation, test and scoring use one fixed binarisation).
        leave_out: classes that are removed from training and validation; the test split keeps them (for detecting
            anomalies).

    Raises:
        InputError: when an argument is out of range or, on first use of the data, when it is missing or damaged.
    """

    def __init__(
        self,
        name: DatasetName = "digits",
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
        val: Validation = "test",
        binarize: Binarize | None = None,
        leave_out: tuple[int, ...] = (),
    ):
        super().__init__()
        info = find_dataset(name)
        _check_choice("cache", cache, Cache)
        _check_choice("on_corrupt", on_corrupt, OnCorrupt)
        _check_choice("val", val, Validation)
        if binarize is not None:
            _check_choice("binarize", binarize, Binarize)
        if channels not in (None, 1, 3):
            raise InputError(f"data.channels is {channels}; it must be 1 (grey) or 3 (RGB)")
        if info.stacked > 1 and channels not in (None, info.channels):
            raise InputError(
                f"data.channels is {channels}; {name} stacks {info.stacked} images in its channels, so it has "
                f"{info.channels}"
            )
        if info.stacked > 1 and leave_out:
            raise InputError(f"data.leave_out does not apply to {name}, whose images have several classes; use mnist")
        check_at_least(1, prefix="data.", image_size=image_size, batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_at_least(0, prefix="data.", seed=seed)
        check_above(0, prefix="data.", note=" and below 1, such as 0.1", holdout=holdout)
        check_fraction(prefix="data.", note=", such as 0.1", holdout=holdout)
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
        self.val: Validation = val
        self.binarize = binarize
        self.leave_out = tuple(leave_out)
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r}, {str(self.root)!r})"  # Lightning's would decode the data

    @property
    def image_shape(self) -> ImageShape:
        """(channels, height, width) of the images; a folder is scanned for colour unless ``channels`` is set."""
        size = self.image_size or self._info.image_size
        return (self._channels_and_classes[0], size, size)

    @property
    def input_shape(self) -> ImageShape | None:
        """(channels, height, width) of the inputs; None for data without inputs."""
        return None

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 where the data has no labels."""
        return self._channels_and_classes[1]

    @property
    def skipped(self) -> int:
        """Number of files that are left out because they could not be decoded."""
        return sum(len(images.skipped) for images in {images.name: images for images in self._packed.values()}.values())

    def image_set(self, split: str) -> ImageSet:
        """The images of one split, without flips and in a fixed order; decodes them if necessary.

        Args:
            split: ``train``, ``val`` or ``test``.

        Returns:
            The image set.

        Raises:
            InputError: for another split, or when the data is missing or damaged.
        """
        if split not in SPLITS:
            raise InputError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
        return self._image_sets[split]

    def prepare_data(self) -> None:
        """Decode the images in one process, while Lightning makes the others wait."""
        _ = self._packed
        if self.binarize == "dynamic":
            _ = self._packed_grey

    def train_dataloader(self) -> BatchLoader:
        """Training batches, shuffled (not when overfitting)."""
        overfit = self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]
        dynamic = self.binarize == "dynamic"
        return self._loader(
            "train",
            self.batch_size,
            self._packed_grey if dynamic else self._packed,
            shuffle=not overfit,
            drop_last=self.drop_last,
            flip=self.flip,
            binarize=dynamic,
        )

    def val_dataloader(self) -> BatchLoader:
        """Validation batches, every image once."""
        return self._loader("val", self.eval_batch_size, self._packed)

    def test_dataloader(self) -> BatchLoader:
        """Test batches, every image once."""
        return self._loader("test", self.eval_batch_size, self._packed)

    def predict_dataloader(self) -> BatchLoader:
        """The test batches."""
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: StoredBatch, dataloader_idx: int) -> Batch:
        """Flip, binarise and convert a batch to [-1, 1], on its device and in the Trainer's precision."""
        images = batch.images
        if batch.flips is not None:
            images = torch.where(batch.flips[:, None, None, None], images.flip(-1), images)
        if batch.binarize_seed is not None:
            images = binarize_dynamic(images, batch.binarize_seed)
        converted = Batch(to_float(images), batch.labels, batch.global_size)
        return self.trainer.precision_plugin.convert_input(converted) if self.trainer else converted

    def _loader(
        self,
        split: str,
        batch_size: int,
        packed_splits: Mapping[str, PackedImages],
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        flip: bool = False,
        binarize: bool = False,
    ) -> BatchLoader:
        image_set, packed = self._image_sets[split], packed_splits[split]
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        order = BatchOrder(len(image_set), batch_size, rank, world_size, self.seed if shuffle else None, drop_last)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        cache = _choose_cache(packed.array.nbytes, device, world_size) if self.cache == "auto" else self.cache
        array = packed.array if cache == "disk" else np.array(packed.array)
        images = torch.from_numpy(array).to(device) if cache == "device" and device.type != "cpu" else array
        return BatchLoader(
            images,
            image_set.labels,
            order,
            flip_seed=self.seed if flip else None,
            key=image_set.key,
            binarize_seed=self.seed if binarize else None,
            part_indices=image_set.part_indices if isinstance(image_set, StackedImages) else None,
        )

    @cached_property
    def _channels_and_classes(self) -> tuple[int, int]:
        """The numbers of channels and of classes; read from the data only where the dataset's record has None."""
        channels, num_classes = self.channels or self._info.channels, self._info.num_classes
        if channels is None or num_classes is None:
            sources = self._sources().values()
            if channels is None:
                scans = [scan_source(source, self._cache_folder) for source in sources]
                channels = 3 if any(scan.colour for scan in scans) else 1
            if num_classes is None:
                labels = [source.labels for source in sources if source.labels is not None]
                num_classes = 1 + max((int(part.max()) for part in labels), default=-1)
        return channels, num_classes

    @cached_property
    def _image_sets(self) -> dict[str, PackedImages | StackedImages]:
        """The image set of each split."""
        info = self._info
        if info.stacked_sizes is None:
            return {**self._packed}
        image_sets: dict[str, PackedImages | StackedImages] = {
            split: sample_stacked_images(f"{info.name}/{split}", self._packed[split], num, info.stacked)
            for split, num in info.stacked_sizes.items()
        }
        if self.val == "test":
            return image_sets | {"val": image_sets["test"]}
        num = info.stacked_sizes["test"]
        return image_sets | {"val": sample_stacked_images(f"{info.name}/val", self._packed["val"], num, info.stacked)}

    @cached_property
    def _packed(self) -> dict[str, PackedImages]:
        """The decoded images of each split, binarised once if ``binarize`` is set."""
        return self._pack(binarized=self.binarize is not None)

    @cached_property
    def _packed_grey(self) -> dict[str, PackedImages]:
        """The decoded images of each split, not binarised."""
        return self._pack(binarized=False)

    def _pack(self, binarized: bool) -> dict[str, PackedImages]:
        info, (channels, size, _) = self._info, self.image_shape
        padded = info.padded and size == info.image_size
        framing = Framing(channels // info.stacked, size, info.crop, padded, binarized)
        splits = self._sources()
        if binarized:
            splits = {split: replace(source, name=f"{source.name}-binarized") for split, source in splits.items()}
        unique = {source.name: source for source in splits.values()}
        folder = self._cache_folder
        packed = {
            name: pack(source, scan_source(source, folder), framing, folder, self.on_corrupt)
            for name, source in unique.items()
        }
        return {split: packed[source.name] for split, source in splits.items()}

    def _sources(self) -> Splits:
        """Read the undecoded splits, without the classes to leave out."""
        splits = self._info.splits(self.root, download=self.download, holdout=self.holdout)
        if self.val == "holdout":
            splits = hold_out_val(splits, self.holdout)
        return exclude_classes(splits, self.leave_out) if self.leave_out else splits

    @property
    def _info(self) -> DatasetInfo:
        return find_dataset(self.dataset)

    @property
    def _cache_folder(self) -> Path:
        return derived_folder(self.root.parent if self._info.root_is_dataset else self.root)


def _check_choice(option: str, value: str, literal: Any) -> None:
    if value not in get_args(literal):
        raise InputError(f"data.{option} is {value!r}; it must be one of {', '.join(get_args(literal))}")


def _choose_cache(num_bytes: int, device: torch.device, world_size: int) -> Cache:
    """The fastest cache of which ``num_bytes`` take at most the permitted share."""
    if device.type == "cuda" and num_bytes <= DEVICE_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]:
        return "device"
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if num_bytes * world_size <= MEMORY_SHARE * memory:
            return "memory"
    return "disk"
