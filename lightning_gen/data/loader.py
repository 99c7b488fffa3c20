"""Batches: an order of images that can start anywhere, and one gather for each batch.

With n images, r ranks and b images for a rank's batch, an epoch is a permutation p of the images drawn from (seed,
epoch), cut into k global batches; global batch i is p[floor(i n / k) : floor((i + 1) n / k)], and rank j takes every
r-th image of it from the j-th on.

    training that drops its last batch:   k = floor(n / r b), with n cut to k r b
    otherwise:                            k = min(ceil(n / r b), floor(n / r))

So every image is seen once, by one rank; all ranks make the same number of batches, which collectives inside a step
(buffers under DDP, gathered metrics) need in order not to hang; and where nothing is dropped, batches differ by an
image or so in size in place of a ragged last one. Nothing is padded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from lightning_gen.data.stacking import put_together
from lightning_gen.errors import InputError
from lightning_gen.noise import mix_seed
from lightning_gen.types import Labels, StoredImages


class StoredBatch(NamedTuple):
    """A batch as it is gathered, before the device makes floats of it.

    Attributes:
        images: uint8.
        labels: classes, or None.
        flips: which images are to be mirrored, or None.
        binarize_seed: by which grey values are to be made black and white, or None.
    """

    images: StoredImages
    labels: Labels | None = None
    flips: Bool[Tensor, " batch"] | None = None
    binarize_seed: int | None = None


@dataclass
class Order:
    """Which images make which batch of one rank.

    Attributes:
        num_images: images in the split.
        batch_size: images in a batch of one rank, at most (one more where b = 1 cannot be kept on all ranks).
        rank: this process.
        ranks: number of processes.
        seed: of the shuffling; None keeps the images in their own order.
        drop_last: leave out what does not fill a batch on every rank.
        epoch: the epoch, which Lightning sets through ``set_epoch``.

    Raises:
        InputError: when the images do not make one batch on every rank.
    """

    num_images: int
    batch_size: int
    rank: int = 0
    ranks: int = 1
    seed: int | None = None
    drop_last: bool = False
    epoch: int = 0

    def __post_init__(self) -> None:
        if len(self) > 0:
            return
        if self.drop_last and self.num_images >= self.ranks:
            raise InputError(
                f"{self.num_images} training images do not fill one batch of {self.batch_size} on each of {self.ranks} "
                f"processes: set data.batch_size to {self.num_images // self.ranks} or less, or data.drop_last to false"
            )
        raise InputError(f"{self.num_images} images cannot be shared by {self.ranks} processes: use fewer devices")

    def __len__(self) -> int:
        share = self.batch_size * self.ranks
        if self.drop_last:
            return self.num_images // share
        return min(-(-self.num_images // share), self.num_images // self.ranks)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose permutation comes next."""
        self.epoch = epoch

    def permutation(self) -> Int64[Tensor, " num_images"]:
        """The epoch's order of all images, the same on every rank."""
        if self.seed is None:
            return torch.arange(self.num_images)
        generator = torch.Generator().manual_seed(mix_seed(self.seed, "order", self.epoch))
        return torch.randperm(self.num_images, generator=generator)

    def cut(self, permutation: Int64[Tensor, " num_images"], batch: int) -> Int64[Tensor, " batch"]:
        """This rank's images in one batch.

        Args:
            permutation: of all images.
            batch: number of the batch in the epoch.

        Returns:
            Their indices.
        """
        batches = len(self)
        used = batches * self.batch_size * self.ranks if self.drop_last else self.num_images
        start, stop = batch * used // batches, (batch + 1) * used // batches
        return permutation[start + self.rank : stop : self.ranks]


class Loader:
    """Iterates over the batches of an order; resumes at the exact batch from its ``state_dict``.

    Lightning finds the order as ``sampler`` and sets the epoch on it after it has made the iterator, so nothing is
    read from it before the first batch is asked for. Being no ``DataLoader``, it is left as it is under several ranks.

    Args:
        images: the images, uint8: a tensor on the accelerator, or an array in memory or mapped from disk (whose
            gather is quicker than that of a CPU tensor, whose threads cost more than they do).
        labels: class of each image, or None.
        order: which images make which batch.
        flip_seed: seed of the mirroring of random images; None mirrors none.
        key: hash of the images, by which a resumed run sees whether its data has changed.
        binarize_seed: seed of drawing black and white from grey values anew in each batch; None leaves them.
        stacks: where an image of a batch is made of several of the images, their indices ``(n, stacked)``.
    """

    def __init__(
        self,
        images: StoredImages | UInt8[np.ndarray, "stored channels height width"],
        labels: Int64[np.ndarray, " num"] | None,
        order: Order,
        flip_seed: int | None = None,
        key: str = "",
        binarize_seed: int | None = None,
        stacks: Int64[np.ndarray, "num stacked"] | None = None,
    ):
        self.images = images
        self.labels = None if labels is None else torch.from_numpy(labels)
        self.stacks = None if stacks is None else torch.from_numpy(stacks)
        if isinstance(images, Tensor):
            self.labels = None if self.labels is None else self.labels.to(images.device)
            self.stacks = None if self.stacks is None else self.stacks.to(images.device)
        self.sampler, self.batch_sampler = order, None  # Lightning asks for both
        self.flip_seed, self.binarize_seed = flip_seed, binarize_seed
        self.key = key
        self._next = 0
        self._resume: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[StoredBatch]:
        resume, self._resume = self._resume, None
        resumed = resume is not None and resume["epoch"] == self.sampler.epoch
        permutation = self.sampler.permutation()
        if isinstance(self.images, Tensor):
            permutation = permutation.to(self.images.device)
        for batch in range(resume["batch"] if resume and resumed else 0, len(self)):
            self._next = batch + 1
            yield self._gather(batch, self.sampler.cut(permutation, batch))
        self._next = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands: the epoch, the batch that comes next, and what the order depends on."""
        return self._resume or {"epoch": self.sampler.epoch, "batch": self._next, "order": self._identity()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state in the next iteration, if it is of the same epoch; a later epoch starts at its start."""
        if state_dict["order"] != self._identity():
            rank_zero_warn(
                "the images, the seed, the batch size or the number of processes differ from those of the "
                "checkpoint: training goes on at the same batch of another order"
            )
        self._resume = {**state_dict, "order": self._identity()}

    def _identity(self) -> list[Any]:
        order = self.sampler
        return [self.key, order.seed, order.num_images, order.batch_size, order.ranks]

    def _gather(self, batch: int, index: Int64[Tensor, " batch"]) -> StoredBatch:
        rows = index if self.stacks is None else self.stacks.index_select(0, index).flatten()
        if isinstance(self.images, Tensor):
            images = self.images.index_select(0, rows)
        else:
            images = torch.from_numpy(np.asarray(self.images[rows.numpy()]))
        if self.stacks is not None:
            images = put_together(images, self.stacks.shape[1])
        labels = None if self.labels is None else self.labels.index_select(0, index)
        return StoredBatch(
            images,
            labels,
            None if self.flip_seed is None else self._flips(self.flip_seed, batch, len(images)),
            None if self.binarize_seed is None else self._seed(self.binarize_seed, "binarize", batch),
        )

    def _flips(self, seed: int, batch: int, num: int) -> Bool[Tensor, " batch"]:
        return torch.rand(num, generator=torch.Generator().manual_seed(self._seed(seed, "flip", batch))) < 0.5

    def _seed(self, seed: int, purpose: str, batch: int) -> int:
        return mix_seed(seed, purpose, self.sampler.epoch, self.sampler.rank, batch)
