"""The order of images: how an epoch is cut into batches and shared by ranks."""

import pytest
import torch

from lightning_gen.data.loader import BatchOrder
from lightning_gen.errors import InputError


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
