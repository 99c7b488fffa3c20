"""The data module: from a dataset's name to batches in [-1, 1] on the device."""

from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from lightning_gen.checks import check_above, check_at_least, check_choice, check_fraction
from lightning_gen.data.binarize import Binarize, binarize_dynamic
from lightning_gen.data.crops import Crop, centre_crop, check_crop, flip_and_rotate
from lightning_gen.data.datasets import DatasetName, find_dataset
from lightning_gen.data.decoded import DecodedDataset
from lightning_gen.data.inputs import Direction, InputKind, InputName, check_divides, check_input_options, find_kind
from lightning_gen.data.loader import BatchLoader, BatchOrder, Degradation, StoredBatch
from lightning_gen.data.packing import OnCorrupt, PackedImages
from lightning_gen.data.splits import (
    SPLITS,
    Validation,
)
from lightning_gen.data.stacking import StackedImages
from lightning_gen.data.views import derived_set, map_images
from lightning_gen.environment import global_seed
from lightning_gen.errors import InputError
from lightning_gen.images import to_float
from lightning_gen.memory import machine_memory
from lightning_gen.noise import mix_seed
from lightning_gen.types import Batch, Images, ImageSet, ImageShape, PairSet

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
            are splits, and other sub-folders are classes. ``pairs`` and ``domains`` are images of two domains, A and B
            (see :mod:`lightning_gen.data.domains`), of which A are the inputs and B the images. With ``inputs``, A is
            ignored and the inputs are computed from B.
        root: folder that contains the data in torchvision's layout (such as ``root/MNIST/raw``, also for
            ``stacked_mnist``); for ``folder``, ``pairs`` and ``domains``, the folder or zip itself. CelebA may also be
            ``img_align_celeba`` or ``img_align_celeba.zip`` directly in ``root``. A missing dataset is reported with
            the files it needs.
        image_size: height and width; default: the dataset's. Images are cropped to the largest centred square (CelebA
            to the customary 148) and resized with an antialiased bicubic filter; MNIST (stacked or not) and
            Fashion-MNIST are padded with black from 28 to their default of 32.
        channels: 1 for grey or 3 for RGB; default: the dataset's. A ``folder`` has 3 as soon as one image has colour;
            ``stacked_mnist`` always has 3. The channels of stored inputs are those of their files.
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
        inputs: for models that make images from images, how inputs are computed from the images, after crop and flip:
            ``bicubic`` (MATLAB's imresize, ``scale`` times smaller), ``grey`` (luma), ``edges`` (white outlines of the
            bright regions), ``inverted``, ``masked`` (without a centred square of half the side), ``dilated`` (thick
            strokes) or ``degraded`` (Real-ESRGAN's random blur, noise and JPEG, ``scale`` times smaller, on the CPU;
            the same for an image at each time in val and test). Default: the other domain of ``pairs`` and
            ``domains``; no inputs of other data.
        scale: number of times that the images are as high and wide as the inputs; needed by ``bicubic`` and
            ``degraded``. Default: 1.
        direction: which domain is the inputs and which the images: ``AtoB`` or ``BtoA``. Computed images are A, and
            those of the dataset B.
        paired: whether each training image comes with its partner. If false, a fixed half of the training images gives
            the images and the other half the inputs, so that no partners are in the training data; ``domains`` are
            served whole. Inputs then have an order of their own, and an epoch serves each image once. In val and test,
            computed inputs and ``pairs`` always are partners. Default: false for ``domains``, which need a partner of
            every file otherwise, and true for other data with inputs.
        load_size: height and width to decode at, of which ``image_size`` is cropped: at random in training, else the
            centre. Default: ``image_size``, without a crop.
        tile: side of overlapping tiles that the images are cut into when they are decoded, without resizing; crops of
            ``image_size`` are taken from the tiles, at random in training, else from the centre. For photographs, and
            for super-resolution. Default: no tiles.
        rotate: turn random training images by 90, 180 or 270 degrees.

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
        inputs: InputName | None = None,
        scale: int | None = None,
        direction: Direction = "AtoB",
        paired: bool | None = None,
        load_size: int | None = None,
        tile: int | None = None,
        rotate: bool = False,
    ):
        super().__init__()
        info = find_dataset(name)
        for choices, values in (
            (Cache, {"cache": cache}),
            (OnCorrupt, {"on_corrupt": on_corrupt}),
            (Validation, {"val": val}),
            (Direction, {"direction": direction}),
            (Binarize, {"binarize": binarize}),
        ):
            check_choice(get_args(choices), prefix="data.", **values)
        if channels not in (None, 1, 3):
            raise InputError(f"data.channels is {channels}; it must be 1 (grey) or 3 (RGB)")
        if info.stacked > 1 and channels not in (None, info.channels):
            raise InputError(
                f"data.channels is {channels}; {name} stacks {info.stacked} images in its channels, so it has "
                f"{info.channels}"
            )
        if info.stacked > 1 and leave_out:
            raise InputError(f"data.leave_out does not apply to {name}, whose images have several classes; use mnist")
        for option, value in (("inputs", inputs), ("load_size", load_size), ("tile", tile)):
            if info.stacked > 1 and value is not None:
                raise InputError(f"data.{option} does not apply to {name}, which stacks several images; use mnist")
        check_at_least(1, prefix="data.", image_size=image_size, batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_at_least(1, prefix="data.", scale=scale, load_size=load_size, tile=tile)
        check_at_least(0, prefix="data.", seed=seed)
        check_above(0, prefix="data.", note=" and below 1, such as 0.1", holdout=holdout)
        check_fraction(prefix="data.", note=", such as 0.1", holdout=holdout)
        self._kind = None if inputs is None else find_kind(inputs)
        stored = info.read_domains is not None and inputs is None
        check_input_options(self._kind, stored, scale, direction, paired)
        check_crop(image_size or info.image_size, load_size, tile)
        check_divides(scale, image_size=image_size or info.image_size, load_size=load_size, tile=tile)
        if binarize is not None and stored:
            raise InputError(f"data.binarize is {binarize}, and {name} has inputs of its own; leave out binarize")
        if binarize == "dynamic" and inputs == "degraded":
            raise InputError("data.binarize is dynamic and data.inputs is degraded; set data.binarize to static")
        if binarize == "dynamic" and paired is False:
            raise InputError("data.binarize is dynamic and data.paired is false; set data.binarize to static")
        self.paired = paired if paired is not None else info.partners if stored else inputs is not None
        partners_in_test = self.paired or info.partners or inputs is not None
        if on_corrupt == "skip" and stored and partners_in_test:
            raise InputError("data.on_corrupt is skip, which would separate partners; set data.on_corrupt to raise")
        self.save_hyperparameters(logger=False)
        self.dataset = name
        self.root = Path(root).expanduser()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.flip = flip
        self.cache = cache
        self.drop_last = drop_last
        self.binarize = binarize
        self.leave_out = tuple(leave_out)
        self.inputs = inputs
        self.scale = scale or 1
        self.direction: Direction = direction
        self.load_size = load_size
        self.tile = tile
        self.rotate = rotate
        self.seed = global_seed() if seed is None else seed
        self._decoded = DecodedDataset(
            info,
            self.root,
            image_size=image_size,
            channels=channels,
            load_size=load_size,
            tile=tile,
            on_corrupt=on_corrupt,
            download=download,
            holdout=holdout,
            val=val,
            binarize=binarize,
            leave_out=self.leave_out,
            computed=inputs is not None,
            scale=self.scale,
            direction=direction,
            paired=self.paired,
            partners_in_test=partners_in_test,
        )

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r}, {str(self.root)!r})"  # Lightning's would decode the data

    @property
    def image_shape(self) -> ImageShape:
        """(channels, height, width) of the images; a folder is scanned for colour unless ``channels`` is set."""
        if self._kind is not None and self.direction == "BtoA":
            return self._derived_shape(self._kind)
        return self._decoded.shape

    @property
    def input_shape(self) -> ImageShape | None:
        """(channels, height, width) of the inputs; None for data without inputs."""
        if self._decoded.stored:
            size = self._decoded.shape[1] // self.scale
            return (self._decoded.input_channels, size, size)
        if self._kind is None:
            return None
        return self._decoded.shape if self.direction == "BtoA" else self._derived_shape(self._kind)

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 where the data has no labels."""
        return self._decoded.num_classes

    @property
    def skipped(self) -> int:
        """Number of files that are left out because they could not be decoded."""
        packed = [*self._decoded.packed.values(), *self._decoded.input_packed.values()]
        return sum(len(images.skipped) for images in {images.name: images for images in packed}.values())

    def image_set(self, split: str) -> ImageSet:
        """The images of one split, without flips and in a fixed order; decodes them if necessary.

        Args:
            split: ``train``, ``val`` or ``test``.

        Returns:
            The image set.

        Raises:
            InputError: for another split, or when the data is missing or damaged.
        """
        check_choice(SPLITS, prefix="", split=split)
        images = self._image_sets[split]
        if self._kind is not None and self.direction == "BtoA":
            return derived_set(self._kind, images, self.scale)
        return images

    def pair_set(self, split: str) -> PairSet | None:
        """The inputs and the images of one split, without flips and in a fixed order.

        Args:
            split: ``train``, ``val`` or ``test``.

        Returns:
            The pairs, whose images are ``image_set(split)``; computed inputs are computed when they are read. None for
            data without inputs.

        Raises:
            InputError: for another split, or when the data is missing or damaged.
        """
        images = self.image_set(split)
        if self._kind is None and not self._decoded.stored:
            return None
        inputs: ImageSet = self._image_sets[split]
        if split in self._decoded.input_packed:
            inputs = self._cropped(self._decoded.input_packed[split], self._input_crop_size)
        if self._kind is not None and self.direction == "AtoB":
            inputs = derived_set(self._kind, inputs, self.scale)
        return PairSet(inputs, images, self._decoded.partners(split))

    def prepare_data(self) -> None:
        """Decode the images in one process, while Lightning makes the others wait."""
        _ = self._decoded.packed, self._decoded.input_packed
        if self.binarize == "dynamic":
            _ = self._decoded.packed_grey

    def train_dataloader(self) -> BatchLoader:
        """Training batches, shuffled (not when overfitting)."""
        overfit = self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]
        return self._loader("train", self.batch_size, shuffle=not overfit, drop_last=self.drop_last, augment=True)

    def val_dataloader(self) -> BatchLoader:
        """Validation batches, every image once."""
        return self._loader("val", self.eval_batch_size)

    def test_dataloader(self) -> BatchLoader:
        """Test batches, every image once."""
        return self._loader("test", self.eval_batch_size)

    def predict_dataloader(self) -> BatchLoader:
        """The test batches."""
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: StoredBatch, dataloader_idx: int) -> Batch:
        """Flip, binarise and convert a batch, and compute inputs, on its device and in the Trainer's precision."""
        images, inputs = _to_images(batch), None if batch.inputs is None else _to_images(batch.inputs)
        if self._kind is not None and self._kind.function is not None:
            given = images if inputs is None else inputs
            if self.direction == "AtoB":
                inputs = self._kind.derive(given, self.scale)
            else:
                images, inputs = self._kind.derive(images, self.scale), given
        converted = Batch(images, batch.labels, batch.global_size, inputs)
        return self.trainer.precision_plugin.convert_input(converted) if self.trainer else converted

    def _loader(
        self, split: str, batch_size: int, *, shuffle: bool = False, drop_last: bool = False, augment: bool = False
    ) -> BatchLoader:
        image_set = self._decoded.base_sets[split]
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        order = BatchOrder(len(image_set), batch_size, rank, world_size, self.seed if shuffle else None, drop_last)
        dynamic = augment and self.binarize == "dynamic"
        size = self._decoded.shape[1]
        inputs = self._decoded.input_packed.get(split)
        input_seed = self.seed if self._decoded.partners(split) else mix_seed(self.seed, "source")
        return BatchLoader(
            self._place((self._decoded.packed_grey if dynamic else self._decoded.packed)[split]),
            image_set.labels,
            order,
            key=image_set.key,
            binarize_seed=self.seed if dynamic else None,
            part_indices=image_set.part_indices if isinstance(image_set, StackedImages) else None,
            inputs=None
            if inputs is None
            else BatchLoader(
                self._place(inputs),
                None,
                order,
                key=inputs.key,
                **self._augmentation(input_seed if augment else None, self._input_crop_size),
            ),
            partners=self._decoded.partners(split),
            degradation=self._degradation(self.seed if augment else None),
            **self._augmentation(self.seed if augment else None, size),
        )

    def _augmentation(self, seed: int | None, size: int) -> dict[str, Any]:
        """Arguments of the loader: crop, flips and turns with a seed, or a centre crop if it is None."""
        return {
            "flip_seed": seed if self.flip else None,
            "rotate_seed": seed if self.rotate else None,
            "crop": Crop(size, seed, self._crop_unit(size)) if self.load_size or self.tile else None,
        }

    def _degradation(self, seed: int | None) -> Degradation | None:
        """How the loader degrades images; None if it does not."""
        degrades = self._kind is not None and self._kind.function is None
        return Degradation(self.scale, seed) if degrades else None

    def _cropped(self, images: PackedImages, size: int) -> ImageSet:
        """The centre crops of an image set, where images are decoded larger than they are served."""
        if not (self.load_size or self.tile):
            return images
        unit = self._crop_unit(size)
        return map_images(images, partial(centre_crop, size=size, unit=unit), f"centre{size}-{unit}")

    def _crop_unit(self, size: int) -> int:
        """The number that divides the positions of crops of a size, so that partners are cropped alike."""
        return size // self._input_crop_size

    @property
    def _input_crop_size(self) -> int:
        """Height and width of the crops that inputs are, or are computed from."""
        return self._decoded.shape[1] // (self.scale if self._decoded.stored else 1)

    def _place(self, packed: PackedImages) -> Tensor | npt.NDArray[np.uint8]:
        """The stored images in the cache: on the device, in memory or on disk."""
        world_size = self.trainer.world_size if self.trainer else 1
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        cache = _choose_cache(packed.array.nbytes, device, world_size) if self.cache == "auto" else self.cache
        array = packed.array if cache == "disk" else np.array(packed.array)
        return torch.from_numpy(array).to(device) if cache == "device" and device.type != "cpu" else array

    def _derived_shape(self, kind: InputKind) -> ImageShape:
        """(channels, height, width) of what is computed from the images of the dataset."""
        channels, height, width = self._decoded.shape
        return (kind.channels or channels, height // self.scale, width // self.scale)

    @cached_property
    def _image_sets(self) -> dict[str, ImageSet]:
        """The images of each split at the size that they are served at, of which nothing is computed yet."""
        if not (self.load_size or self.tile):
            return {**self._decoded.base_sets}
        return {split: self._cropped(packed, self._decoded.shape[1]) for split, packed in self._decoded.packed.items()}


def _to_images(batch: StoredBatch) -> Images:
    """Flip and binarise the images of a batch and convert them to [-1, 1], on their device."""
    images = flip_and_rotate(batch.images, batch.flips, batch.turns)
    if batch.binarize_seed is not None:
        images = binarize_dynamic(images, batch.binarize_seed)
    return to_float(images)


def _choose_cache(num_bytes: int, device: torch.device, world_size: int) -> Cache:
    """The fastest cache of which ``num_bytes`` take at most the permitted share."""
    if device.type == "cuda" and num_bytes <= DEVICE_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]:
        return "device"
    if num_bytes * world_size <= MEMORY_SHARE * machine_memory():
        return "memory"
    return "disk"
