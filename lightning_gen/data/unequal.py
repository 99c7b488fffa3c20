"""Folders of images of unequal sizes, with the inputs that a translator makes them from, for scoring.

The benchmarks of super-resolution (Set5, Set14 ...) are such folders: images are cut at the right and at the bottom to
multiples of the scale, and inputs are computed from the result.
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from lightning_gen.data.decode import Framing, decode_image, upright_size
from lightning_gen.data.domains import HalfSource, check_sizes, files_by_stem
from lightning_gen.data.files import image_names, open_tree
from lightning_gen.data.inputs import check_input_options, find_kind
from lightning_gen.data.packing import derived_folder, scan_source
from lightning_gen.data.sources import FileSource, IndexArray
from lightning_gen.data.views import derived_set
from lightning_gen.errors import InputError
from lightning_gen.types import PairSet, StoredImages


@dataclass
class UnequalImages:
    """An image set of files that are decoded when they are read, each at its own size.

    Attributes:
        name: dataset and split.
        key: hash of the files' content and of the format.
        labels: None.
        source: the files.
        channels: number of channels of the decoded images.
        multiple: number to multiples of which height and width are cut, at the bottom and at the right.
    """

    name: str
    key: str
    labels: IndexArray | None
    source: FileSource
    channels: int
    multiple: int = 1

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of each image after the cut; only the files' headers are decoded."""
        return [self._size(index) for index in range(len(self))]

    def __getitem__(self, index: slice | IndexArray) -> StoredImages:
        """Decode images of one size; an :class:`InputError` is raised where sizes differ or a file is damaged."""
        images = [self._decode(int(position)) for position in np.arange(len(self))[index]]
        if len({image.shape for image in images}) > 1:
            raise InputError(f"images of {self.name} differ in size; read them one at a time")
        return torch.stack(images) if images else torch.empty(0, self.channels, 0, 0, dtype=torch.uint8)

    def _size(self, index: int) -> tuple[int, int]:
        try:
            with self.source.open(index) as file:
                height, width = upright_size(file)
        except Exception as error:  # decoders raise many types
            raise self._damaged(index, error) from None
        return height // self.multiple * self.multiple, width // self.multiple * self.multiple

    def _damaged(self, index: int, error: Exception) -> InputError:
        return InputError(f"{self.source.location(index)} cannot be decoded ({error}); repair or remove it")

    def _decode(self, index: int) -> UInt8[Tensor, "channels height width"]:
        try:
            with self.source.open(index) as file:
                image = torch.from_numpy(np.array(decode_image(file, Framing(self.channels, None))))
        except Exception as error:  # decoders raise many types
            raise self._damaged(index, error) from None
        height, width = (side // self.multiple * self.multiple for side in image.shape[1:])
        if not height or not width:
            raise InputError(f"{self.source.location(index)} is smaller than the scale {self.multiple}; remove it")
        return image[:, :height, :width]


def folder_pairs(
    path: str | Path,
    kind: str | None = None,
    scale: int | None = None,
    channels: int | None = None,
    input_channels: int | None = None,
) -> PairSet:
    """The images of a folder or zip archive at their own sizes, with their inputs.

    Args:
        path: the folder or archive. Without ``kind`` it contains folders ``A`` (inputs) and ``B`` (images) of partners
            with equal paths up to the ending, or images side by side, A to the left.
        kind: how inputs are computed from the images: a value of ``data.inputs``; None: they are stored.
        scale: number of times that the images are as high and wide as the inputs. Images are cut to multiples of it.
            Needed by the kinds that have one; None otherwise: 1.
        channels: 1 or 3, of the images; None: 1 where all of them are grey, else 3.
        input_channels: 1 or 3, of stored inputs; None: as for ``channels``.

    Returns:
        The pairs, in the order of the files' names. Sets are read one image at a time, or several of one size.

    Raises:
        InputError: when there are no images, an option does not apply, a partner is missing, or its size does not fit.
    """
    path = Path(path).expanduser()
    record = None if kind is None else find_kind(kind)
    check_input_options(record, True, scale, "AtoB", None)
    title, tree = path.resolve().stem, open_tree(path)
    names, multiple = image_names(tree), scale or 1
    if record is not None:
        images = _unequal(FileSource(f"{title}/all", tree, names, None), path, channels, multiple)
        return PairSet(derived_set(record, images, multiple), images, True)
    stored: dict[str, FileSource] = {
        domain: HalfSource(f"{title}-{domain}/all", tree, names, None, domain == "B") for domain in "AB"
    }
    if files := files_by_stem(path, names):
        stored = {domain: FileSource(f"{title}-{domain}/all", tree, files[domain], None) for domain in "AB"}
    check_sizes(stored["A"], stored["B"], multiple, cut=True)
    return PairSet(_unequal(stored["A"], path, input_channels), _unequal(stored["B"], path, channels, multiple), True)


def unequal_set(path: str | Path, channels: int | None = None) -> UnequalImages:
    """All images of a folder or zip archive at their own sizes.

    Args:
        path: the folder or archive.
        channels: 1 or 3; None: 1 where all images are grey, else 3.

    Returns:
        The images, in the order of the files' names.

    Raises:
        InputError: when there are no images.
    """
    path = Path(path).expanduser()
    tree = open_tree(path)
    return _unequal(FileSource(f"{path.resolve().stem}/all", tree, image_names(tree), None), path, channels)


def _unequal(source: FileSource, path: Path, channels: int | None, multiple: int = 1) -> UnequalImages:
    scan = scan_source(source, derived_folder(path.parent))
    channels = channels or (3 if scan.colour else 1)
    key = blake2b(f"{scan.content} unequal {channels} {multiple}".encode(), digest_size=16).hexdigest()
    return UnequalImages(source.name, key, None, source, channels, multiple)
