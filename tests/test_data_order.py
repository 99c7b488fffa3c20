"""The order of images: how an epoch is cut into batches and shared by ranks."""

import numpy as np
import pytest
import torch

from lightning_gen.data import ImageData
from lightning_gen.data.loader import BatchLoader, BatchOrder
from lightning_gen.errors import InputError
from lightning_gen.images import to_float
from lightning_gen.models import VAE
from lightning_gen.types import Batch


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("drop_last", [True, False])
def test_ranks_share_an_epoch(world_size, drop_last):
    orders = [
        BatchOrder(1003, 16, rank, world_size, seed=5, drop_last=drop_last, epoch=2) for rank in range(world_size)
    ]
    assert len({len(order) for order in orders}) == 1  # otherwise collectives would hang
    batches = [order.batch_indices(order.permutation(), batch) for order in orders for batch in range(len(order))]
    indices = torch.cat(batches).tolist()
    assert len(set(indices)) == len(indices)
    if drop_last:
        assert {len(batch) for batch in batches} == {16}
        assert 1003 - len(indices) < 16 * world_size
    else:
        assert len(indices) == 1003
        assert max(map(len, batches)) <= 16


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("num", [7, 8, 100, 257, 1003])
@pytest.mark.parametrize("batch_size", [1, 2, 128])
def test_validation_pads_and_drops_nothing(num, world_size, batch_size):
    orders = [BatchOrder(num, batch_size, rank, world_size) for rank in range(world_size)]
    assert len({len(order) for order in orders}) == 1
    batches = [order.batch_indices(order.permutation(), batch) for order in orders for batch in range(len(order))]
    assert min(map(len, batches)) >= 1
    assert max(map(len, batches)) <= max(batch_size, 2 if world_size > 1 else 1)
    assert sorted(torch.cat(batches).tolist()) == list(range(num))


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return BatchOrder(100, 10, seed=seed, epoch=epoch).permutation().tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_fewer_images_than_processes():
    with pytest.raises(InputError, match="2 images cannot be shared by 3 processes"):
        BatchOrder(2, 16, world_size=3)


def test_every_rank_counts_the_same_images():
    """Batches of nearly equal size: their sizes differ between ranks, the number of images trained on must not."""
    models = [VAE((1, 8, 8), width=2, latent_dim=2) for _ in range(4)]
    images = np.zeros((1437, 1, 8, 8), dtype=np.uint8)
    loaders = [BatchLoader(images, None, BatchOrder(1437, 40, rank, 4, seed=0)) for rank in range(4)]
    sizes = set()
    for batches in zip(*loaders, strict=True):
        sizes.add(tuple(len(batch.images) for batch in batches))
        for model, batch in zip(models, batches, strict=True):
            model.count(Batch(to_float(batch.images), None, batch.global_size))
        assert len({model.images_seen for model in models}) == 1
    assert {model.images_seen for model in models} == {1437}
    assert any(len(set(of_ranks)) > 1 for of_ranks in sizes)


def test_the_data_module_tells_the_size_of_a_batch_on_all_ranks(tmp_path):
    data = ImageData("digits", root=str(tmp_path), batch_size=100, drop_last=False)
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch.global_size == len(batch.images) == 95
