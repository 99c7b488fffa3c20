"""Two processes give the scores of one, whatever the time-out of the run's process group."""

import json
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lightning_gen.distributed import scoring_group
from lightning_gen.errors import InputError
from lightning_gen.evaluation import comparison, score_samples, score_translations
from lightning_gen.noise import randn
from lightning_gen.types import PairSet
from tests.test_evaluation import Generator, Images, Linear, digit_sets
from tests.toy_styles import Floats, ToyStyles

TIMEOUT = 3


def scored():
    torch.manual_seed(0)
    model = Generator(num_classes=10)
    train, test = digit_sets()
    metrics = ("fid", "isc", "prc", "modes", "copies")
    return score_samples(model, train, Linear(), metrics=metrics, num_samples=1003, batch_size=64, held_out=test)


class Noisy(torch.nn.Module):
    """Adds noise to every image."""

    def translate(self, inputs, *, generator=None):
        return inputs * 0.5 + 0.1 * randn(len(inputs), 1, 1, 1, generator=generator)

    input_shape, needs_pairs, context = (1, 8, 8), True, 0


def translated():
    train, _ = digit_sets()
    pairs = PairSet(Images("inputs/train", train.images[:203]), Images("targets/train", 255 - train.images[:203]), True)
    return score_translations(Noisy(), pairs, Linear(), batch_size=64, seed=2)


def probed():
    train, _ = digit_sets(16)
    return score_samples(ToyStyles(), train, Floats(), metrics=("ppl_zfull",), num_samples=15, batch_size=4)


def work(rank: int, folder: Path) -> None:
    store = dist.FileStore(str(folder / "store"), 2)
    store.add("here", 1)
    while store.add("here", 0) < 2:  # the processes take different times to import
        time.sleep(0.05)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=TIMEOUT))
    compute = comparison.compute_scores

    def slow_compute(*args):
        time.sleep(TIMEOUT + 2)
        return compute(*args)

    comparison.compute_scores = slow_compute
    try:
        (folder / f"{rank}.json").write_text(scored().to_json())
        comparison.compute_scores = compute
        (folder / f"translations{rank}.json").write_text(translated().to_json())
        (folder / f"path_length{rank}.json").write_text(probed().to_json())
        with scoring_group() as group, pytest.raises(InputError, match="on rank 0"):
            group.on_first_rank(lambda: fail(rank))
        dist.barrier()
    finally:
        dist.destroy_process_group()


def fail(rank):
    raise InputError(f"on rank {rank}")


def test_two_ranks_give_the_scores_of_one(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "two"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    mp.spawn(work, args=(tmp_path,), nprocs=2)
    cards = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert cards[0] == cards[1]
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "one"))
    alone = scored()
    assert cards[0]["num_generated"] == alone.num_generated == 1003
    assert cards[0]["scores"] == pytest.approx(alone.scores, rel=1e-6)
    cards = [json.loads((tmp_path / f"translations{rank}.json").read_text()) for rank in range(2)]
    alone = translated()
    assert cards[0] == cards[1]
    assert cards[0]["seed"] == alone.seed == 2
    assert cards[0]["scores"] == pytest.approx(alone.scores, rel=1e-6)
    assert cards[0]["baselines"]["copy"] == pytest.approx(alone.baselines["copy"], rel=1e-6)
    cards = [json.loads((tmp_path / f"path_length{rank}.json").read_text()) for rank in range(2)]
    assert cards[0] == cards[1]
    assert cards[0]["scores"] == pytest.approx(probed().scores, rel=1e-4)
