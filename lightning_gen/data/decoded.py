"""The decoded images of a dataset's splits, and the decoded images that inputs are, or are computed from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from lightning_gen.data.binarize import Binarize
from lightning_gen.data.datasets import DatasetInfo
from lightning_gen.data.decode import Framing
from lightning_gen.data.domains import check_sizes
from lightning_gen.data.inputs import Direction
from lightning_gen.data.packing import OnCorrupt, PackedImages, derived_folder, folder_in_cache, pack, scan_source
from lightning_gen.data.sources import IndexArray, Scan, Source
from lightning_gen.data.splits import (
    SPLITS,
    Domains,
    ReadOptions,
    Splits,
    Validation,
    exclude_classes,
    hold_out_val,
    split_halves,
)
from lightning_gen.data.stacking import StackedImages, sample_stacked_images
from lightning_gen.data.tiles import tile_source
from lightning_gen.types import ImageShape


@dataclass
class DecodedDataset:
    """Reads the splits of a dataset, and decodes them on first use. The options are those of :class:`ImageData`.

    Attributes:
        info: the dataset.
        root: where it is.
        image_size: height and width; None: the dataset's.
        channels: 1 or 3; None: the dataset's.
        load_size: height and width to decode at; None: ``image_size``.
        tile: side of tiles that images are cut into; None: none.
        on_corrupt: ``raise`` or ``skip``.
        download: whether a missing dataset is downloaded.
        holdout: fraction that is held out.
        val: ``test`` or ``holdout``.
        binarize: how images are binarised; None: they are not.
        leave_out: classes that are removed from train and val.
        computed: whether inputs are computed from images.
        scale: number of times that images are as high and wide as their inputs.
        direction: which domain is the inputs.
        paired: whether each training image comes with its partner.
        partners_in_test: whether those of val and test do.
    """

    info: DatasetInfo
    root: Path
    image_size: int | None
    channels: int | None
    load_size: int | None
    tile: int | None
    on_corrupt: OnCorrupt
    download: bool
    holdout: float
    val: Validation
    binarize: Binarize | None
    leave_out: tuple[int, ...]
    computed: bool
    scale: int
    direction: Direction
    paired: bool
    partners_in_test: bool

    @property
    def shape(self) -> ImageShape:
        """(channels, height, width) of the images of the dataset."""
        size = self.image_size or self.info.image_size
        return (self._channels_and_classes[0], size, size)

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 where the data has no labels."""
        return self._channels_and_classes[1]

    def partners(self, split: str) -> bool:
        """Whether input i of a split is the partner of image i."""
        return self.paired if split == "train" else self.partners_in_test

    @property
    def stored(self) -> bool:
        """Whether the inputs are images of the dataset."""
        return not self.computed and self.info.read_domains is not None

    @cached_property
    def _channels_and_classes(self) -> tuple[int, int]:
        """The numbers of channels and of classes; read from the data only where the dataset's record has None."""
        channels, num_classes = self.channels or self.info.channels, self.info.num_classes
        if channels is None or num_classes is None:
            splits = self._domains.images
            if channels is None:
                channels = self._scan_channels(splits)
            if num_classes is None:
                labels = [source.labels for source in splits.values() if source.labels is not None]
                num_classes = 1 + max((int(part.max()) for part in labels), default=-1)
        return channels, num_classes

    @cached_property
    def input_channels(self) -> int:
        """The number of channels of stored inputs."""
        return self._scan_channels(self._domains.inputs)

    def _scan_channels(self, splits: Splits) -> int:
        """3 where any image has colour, else 1."""
        unique = {source.name: source for source in splits.values()}
        return 3 if any(self._scan(source).colour for source in unique.values()) else 1

    def _scan(self, source: Source) -> Scan:
        """Scan a source, once."""
        if source.name not in self._scans:
            self._scans[source.name] = scan_source(source, self._cache_folder)
        return self._scans[source.name]

    @cached_property
    def _scans(self) -> dict[str, Scan]:
        """The scans of sources by name."""
        return {}

    @cached_property
    def base_sets(self) -> dict[str, PackedImages | StackedImages]:
        """The images of each split as they are decoded or stacked."""
        info = self.info
        if info.stacked_sizes is None:
            return {**self.packed}
        image_sets: dict[str, PackedImages | StackedImages] = {
            split: sample_stacked_images(f"{info.name}/{split}", self.packed[split], num, info.stacked)
            for split, num in info.stacked_sizes.items()
        }
        if self.val == "test":
            return image_sets | {"val": image_sets["test"]}
        num = info.stacked_sizes["test"]
        return image_sets | {"val": sample_stacked_images(f"{info.name}/val", self.packed["val"], num, info.stacked)}

    @cached_property
    def packed(self) -> dict[str, PackedImages]:
        """The decoded images of each split, binarised once if ``binarize`` is set."""
        packed = self._pack(self._domains.images, binarized=self.binarize is not None)
        vars(self).pop("_domains", None)  # the undecoded images may be large
        return packed

    @cached_property
    def packed_grey(self) -> dict[str, PackedImages]:
        """The decoded images of each split, not binarised."""
        return self._pack(self._domains.images, binarized=False)

    @cached_property
    def input_packed(self) -> dict[str, PackedImages]:
        """The decoded images that inputs are, or are computed from, for each split where these are not ``packed``."""
        if not self.stored and (not self.computed or self.paired):
            return {}
        inputs, images = self._domains
        if not self.stored:
            return self._pack(inputs, binarized=self.binarize is not None)
        for split in SPLITS:
            if self.partners(split):
                check_sizes(inputs[split], images[split], self.scale)
        return self._pack(inputs, binarized=False, channels=self.input_channels, scale=self.scale)

    def _pack(
        self, splits: Splits, binarized: bool, channels: int | None = None, scale: int = 1
    ) -> dict[str, PackedImages]:
        """Decode splits with a number of channels (None: the dataset's) and ``scale`` times smaller."""
        info, (own_channels, size, _) = self.info, self.shape
        size = self.load_size or size
        if self.tile is not None:
            unit = self.scale // scale if self.stored else 1
            splits = _map_sources(splits, partial(tile_source, tile=self.tile // scale, unit=unit))
        framing = Framing(
            (channels or own_channels) // info.stacked,
            None if self.tile else size // scale,
            info.crop,
            info.padded and size == info.image_size,
            binarized,
        )
        if binarized:
            splits = _map_sources(splits, lambda source: source.subset(f"{source.name}-binarized", _all(source)))
        unique = {source.name: source for source in splits.values()}
        folder = self._cache_folder
        packed = {
            name: pack(source, self._scan(source), framing, folder, self.on_corrupt) for name, source in unique.items()
        }
        return {split: packed[source.name] for split, source in splits.items()}

    @cached_property
    def _domains(self) -> Domains:
        """The undecoded images of each split, and those that inputs are, or are computed from, where these differ."""
        info, options = self.info, self._read_options
        if self.stored and info.read_domains is not None:
            domains = [self._select(splits) for splits in info.read_domains(options, self.partners_in_test)]
            inputs, images = domains if self.direction == "AtoB" else domains[::-1]
            if info.partners and not self.paired:
                return Domains(split_halves(inputs)[1], split_halves(images)[0])
            return Domains(inputs, images)
        images = self._select(info.read(options))
        if not self.computed or self.paired:
            return Domains({}, images)
        images, others = split_halves(images)
        return Domains({"train": others["train"]}, images)

    def _select(self, splits: Splits) -> Splits:
        """Hold out a part for validation, and leave out classes."""
        if self.val == "holdout":
            splits = hold_out_val(splits, self.holdout)
        return exclude_classes(splits, self.leave_out) if self.leave_out else splits

    @property
    def _read_options(self) -> ReadOptions:
        return self.info.read_options(self.root, download=self.download, holdout=self.holdout)

    @property
    def _cache_folder(self) -> Path:
        if self.info.root_is_dataset:
            return derived_folder(self.root.parent)
        return derived_folder(self.root) if self.info.files else folder_in_cache(self.info.name)


def _map_sources(splits: Splits, function: Callable[[Source], Source]) -> Splits:
    """Apply a function to each source once, where several splits may have the same."""
    unique = {source.name: function(source) for source in {source.name: source for source in splits.values()}.values()}
    return {split: unique[source.name] for split, source in splits.items()}


def _all(source: Source) -> IndexArray:
    return np.arange(len(source))
