"""Batches: an order of images that can be resumed at any batch, and one gather per batch.

For n images, r processes and b images per batch and process, an epoch is a permutation p of the images, a function of
(seed, epoch), cut into k global batches. Global batch i is p[floor(i n / k) : floor((i + 1) n / k)], and rank j takes
every r-th image of it, starting at the j-th.

    training that drops its last batch:   k = floor(n / (r b)), with n reduced to k r b
    otherwise:                            k = min(ceil(n / (r b)), floor(n / r))

Every image is served once, on one rank. All ranks make the same number of batches, because collective operations
inside a step (buffers under DDP, gathered metrics) would wait forever otherwise. Where nothing is dropped, the batches
are of almost equal size, without a small last one. Nothing is padded.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from lightning_gen.data.crops import Crop, Crops, centre_crop, crop_at, flip_and_rotate
from lightning_gen.data.degradation import degrade_batch, image_seeds
from lightning_gen.data.stacking import stack_channels
from lightning_gen.errors import InputError
from lightning_gen.noise import mix_seed
from lightning_gen.types import Labels, StoredImages


class StoredBatch(NamedTuple):
    """A gathered batch, before it is augmented and converted to floats on the device.

    Attributes:
        images: uint8 images.
        labels: classes, or None.
        flips: the images to mirror, or None.
        binarize_seed: seed of the binarisation, or None.
        global_size: the number of images of the batch on all ranks together, or None.
        inputs: the stored images that the inputs are, or are computed from; None where there are none, or where they
            are computed from ``images``.
        turns: number of quarter turns of each image, or None.
    """

    images: StoredImages
    labels: Labels | None = None
    flips: Bool[Tensor, " batch"] | None = None
    binarize_seed: int | None = None
    global_size: int | None = None
    inputs: "StoredBatch | None" = None
    turns: Int64[Tensor, " batch"] | None = None


@dataclass
class BatchOrder:
    """The images of each batch of one rank.

    Attributes:
        num_images: number of images in the split.
        batch_size: maximum number of images per batch of one rank; a batch size of 1 on several ranks becomes up to 2
            without ``drop_last``.
        rank: the rank.
        world_size: number of processes.
        seed: seed of the permutations; None: the images' own order.
        drop_last: omit the images that do not fill a batch on every rank.
        epoch: current epoch, which Lightning sets with :meth:`set_epoch`.

    Raises:
        InputError: when there are too few images for one batch on every rank.
    """

    num_images: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    seed: int | None = None
    drop_last: bool = False
    epoch: int = 0

    def __post_init__(self) -> None:
        if len(self) > 0:
            return
        if self.drop_last and self.num_images >= self.world_size:
            largest = self.num_images // self.world_size
            raise InputError(
                f"{self.num_images} training images do not fill one batch of {self.batch_size} on each of "
                f"{self.world_size} processes; set data.batch_size to {largest} or less, or data.drop_last to false"
            )
        raise InputError(f"{self.num_images} images cannot be shared by {self.world_size} processes; use fewer devices")

    def __len__(self) -> int:
        global_batch_size = self.batch_size * self.world_size
        if self.drop_last:
            return self.num_images // global_batch_size
        return min(-(-self.num_images // global_batch_size), self.num_images // self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next permutation."""
        self.epoch = epoch

    def permutation(self) -> Int64[Tensor, " num_images"]:
        """The epoch's permutation of all images, the same on every rank."""
        if self.seed is None:
            return torch.arange(self.num_images)
        generator = torch.Generator().manual_seed(mix_seed(self.seed, "order", self.epoch))
        return torch.randperm(self.num_images, generator=generator)

    def input_permutation(self, num_inputs: int) -> Int64[Tensor, " num_images"]:
        """The epoch's inputs of another domain, the same on every rank: an input for each entry of ``permutation``.

        They are permutations of all inputs, one after the other, and a function of (seed, "source", epoch). Fewer
        inputs than images are served several times, and of more inputs a part.

        Args:
            num_inputs: number of inputs.

        Returns:
            Indices of inputs.
        """
        if self.seed is None:
            return torch.arange(self.num_images) % num_inputs
        generator = torch.Generator().manual_seed(mix_seed(self.seed, "source", self.epoch))
        rounds = -(-self.num_images // num_inputs)
        permutations = [torch.randperm(num_inputs, generator=generator) for _ in range(rounds)]
        return torch.cat(permutations)[: self.num_images]

    def batch_indices(self, permutation: Int64[Tensor, " num_images"], batch: int) -> Int64[Tensor, " batch"]:
        """This rank's images in one batch.

        Args:
            permutation: the result of :meth:`permutation`.
            batch: index of the batch in the epoch.

        Returns:
            Indices of images.
        """
        start, stop = self._global_batch(batch)
        return permutation[start + self.rank : stop : self.world_size]

    def global_size(self, batch: int) -> int:
        """The number of images in one batch on all ranks together."""
        start, stop = self._global_batch(batch)
        return stop - start

    def _global_batch(self, batch: int) -> tuple[int, int]:
        """The range of the permutation that is one batch of all ranks."""
        num_batches = len(self)
        num_used = num_batches * self.batch_size * self.world_size if self.drop_last else self.num_images
        return batch * num_used // num_batches, (batch + 1) * num_used // num_batches


@dataclass(frozen=True)
class Degradation:
    """Random degradation of the images of a batch to inputs.

    Attributes:
        scale: number of times that the inputs are smaller.
        seed: seed of training; None: each image is degraded by its index in the split, always alike.
    """

    scale: int
    seed: int | None


class BatchLoader:
    """Iterates over the batches of an order, and resumes at the exact batch from its ``state_dict``.

    Lightning finds the order as ``sampler``, and sets its epoch after it has made the iterator, so the iterator reads
    the order only when the first batch is requested. Lightning replaces the samplers of a ``DataLoader`` under several
    ranks; this class is not one, and stays as it is.

    Args:
        images: uint8 images: a tensor on the accelerator, or an array in memory or mapped from disk. (NumPy gathers
            a batch faster than torch does on the CPU, where threads cost more than they save.)
        labels: class of each image, or None.
        order: the images of each batch.
        flip_seed: seed of random horizontal flips; None: no flips.
        key: hash of the images, so that a resumed run notices changed data.
        binarize_seed: seed of the binarisation of each batch; None: none.
        part_indices: indices ``(n, stacked)`` into ``images``, where each image served is several of them stacked in
            the channels.
        inputs: the loader of what the inputs are taken from, of the same order; None: there are no inputs, or they are
            computed from the images.
        partners: whether input i is the partner of image i. Otherwise inputs have an order of their own.
        rotate_seed: seed of random quarter turns; None: no turns.
        crop: the square that is cut out of each image; None: the whole image.
        degradation: degrades the images, or those of ``inputs``, to inputs after they are cropped, flipped and turned;
            a batch is computed in threads while the one before is trained on. None: no degradation.
    """

    def __init__(
        self,
        images: StoredImages | UInt8[np.ndarray, "stored channels height width"],
        labels: Int64[np.ndarray, " num"] | None,
        order: BatchOrder,
        flip_seed: int | None = None,
        key: str = "",
        binarize_seed: int | None = None,
        part_indices: Int64[np.ndarray, "num stacked"] | None = None,
        inputs: "BatchLoader | None" = None,
        partners: bool = True,
        rotate_seed: int | None = None,
        crop: Crop | None = None,
        degradation: Degradation | None = None,
    ):
        self.images = images
        self.labels = None if labels is None else torch.from_numpy(labels)
        self.part_indices = None if part_indices is None else torch.from_numpy(part_indices)
        if isinstance(images, Tensor):
            self.labels = None if self.labels is None else self.labels.to(images.device)
            self.part_indices = None if self.part_indices is None else self.part_indices.to(images.device)
        self.sampler, self.batch_sampler = order, None  # Lightning reads both
        self.flip_seed, self.binarize_seed = flip_seed, binarize_seed
        self.rotate_seed, self.crop, self.degradation = rotate_seed, crop, degradation
        self.key: str = key if inputs is None else f"{key} {inputs.key}"
        self.inputs, self.partners = inputs, partners
        self._next_batch = 0
        self._resume_state: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[StoredBatch]:
        resume, self._resume_state, order = self._resume_state, None, self.sampler
        start = resume["batch"] if resume is not None and resume["epoch"] == order.epoch else 0
        permutation = self._place(self.sampler.permutation())
        inputs, input_permutation = self.inputs, permutation
        if inputs is not None:
            num_inputs = len(inputs.images)
            input_permutation = inputs._place(permutation if self.partners else order.input_permutation(num_inputs))

        def gather(batch: int) -> StoredBatch:
            index = order.batch_indices(permutation, batch)
            stored = self._gather(batch, index)
            if inputs is not None:
                index = order.batch_indices(input_permutation, batch)
                stored = stored._replace(inputs=inputs._gather(batch, index))
            return stored if self.degradation is None else self._degrade(self.degradation, batch, index, stored)

        batches = map(gather, range(start, len(self)))
        for batch, stored in enumerate(batches if self.degradation is None else _one_ahead(batches), start):
            self._next_batch = batch + 1
            yield stored
        self._next_batch = 0

    def state_dict(self) -> dict[str, Any]:
        """The epoch, the next batch, and the values that determine the order."""
        return self._resume_state or {
            "epoch": self.sampler.epoch,
            "batch": self._next_batch,
            "order": self._order_state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume at the saved batch if the next iteration is of the saved epoch; other epochs start at batch 0.

        Args:
            state_dict: what :meth:`state_dict` returned.

        Raises:
            InputError: if it has other entries.
        """
        position = [state_dict.get(name) for name in ("epoch", "batch")]
        if "order" not in state_dict or not all(isinstance(number, int) and number >= 0 for number in position):
            raise InputError("the checkpoint's position in the training data is damaged")
        if state_dict["order"] != self._order_state():
            rank_zero_warn(
                "the images, the seed, the batch size or the number of processes differ from those of the "
                "checkpoint; training resumes at the same batch of another order"
            )
        self._resume_state = {**state_dict, "order": self._order_state()}

    def _order_state(self) -> list[Any]:
        order = self.sampler
        return [self.key, order.seed, order.num_images, order.batch_size, order.world_size]

    def _place(self, indices: Int64[Tensor, " num"]) -> Int64[Tensor, " num"]:
        """Copy indices to the device of the images."""
        return indices.to(self.images.device) if isinstance(self.images, Tensor) else indices.cpu()

    def _gather(self, batch: int, index: Int64[Tensor, " batch"]) -> StoredBatch:
        rows = index if self.part_indices is None else self.part_indices.index_select(0, index).flatten()
        if isinstance(self.images, Tensor):
            images = self.images.index_select(0, rows)
        else:
            images = torch.from_numpy(np.asarray(self.images[rows.numpy()]))
        if self.part_indices is not None:
            images = stack_channels(images, self.part_indices.shape[1])
        if self.crop is not None:
            images = self._cut(self.crop, batch, images)
        labels = None if self.labels is None else self.labels.index_select(0, index)
        return StoredBatch(
            images,
            labels,
            None if self.flip_seed is None else self._sample_flips(self.flip_seed, batch, len(images)),
            None if self.binarize_seed is None else self._batch_seed(self.binarize_seed, "binarize", batch),
            self.sampler.global_size(batch),
            turns=None if self.rotate_seed is None else self._sample_turns(self.rotate_seed, batch, len(images)),
        )

    def _degrade(
        self, degradation: Degradation, batch: int, index: Int64[Tensor, " batch"], stored: StoredBatch
    ) -> StoredBatch:
        """Crop, flip and turn the images here instead of on the device, and degrade them."""
        images = flip_and_rotate(stored.images, stored.flips, stored.turns)
        others = stored.inputs
        given = images if others is None else flip_and_rotate(others.images, others.flips, others.turns)
        seeds = image_seeds(index.cpu().numpy())
        if degradation.seed is not None:
            seeds = [mix_seed(self._batch_seed(degradation.seed, "degraded", batch), i) for i in range(len(index))]
        inputs = StoredBatch(degrade_batch(given, degradation.scale, seeds))
        return stored._replace(images=images, flips=None, turns=None, inputs=inputs)

    def _cut(self, crop: Crop, batch: int, images: StoredImages) -> Crops:
        if crop.seed is None:
            return centre_crop(images, crop.size, crop.unit)
        offsets = crop.random_offsets(len(images), images.shape[-1], self._batch_seed(crop.seed, "crop", batch))
        return crop_at(images, offsets, crop.size)

    def _sample_flips(self, seed: int, batch: int, num: int) -> Bool[Tensor, " batch"]:
        return torch.rand(num, generator=torch.Generator().manual_seed(self._batch_seed(seed, "flip", batch))) < 0.5

    def _sample_turns(self, seed: int, batch: int, num: int) -> Int64[Tensor, " batch"]:
        generator = torch.Generator().manual_seed(self._batch_seed(seed, "rotate", batch))
        return torch.randint(4, (num,), generator=generator)

    def _batch_seed(self, seed: int, purpose: str, batch: int) -> int:
        return mix_seed(seed, purpose, self.sampler.epoch, self.sampler.rank, batch)


def _one_ahead(batches: Iterator[StoredBatch]) -> Iterator[StoredBatch]:
    """Compute each batch in a thread while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, batches, None)
        while (stored := pending.result()) is not None:
            pending = pool.submit(next, batches, None)
            yield stored
