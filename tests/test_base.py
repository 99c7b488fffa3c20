"""The bottom of the house: images, noise, atomic files."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.io import decode_image

from lightning_gen.cache import atomic, cache_dir
from lightning_gen.errors import InputError
from lightning_gen.images import grid, save_png, to_float, to_uint8
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.noise import image_generators, mix_seed, randn, seed_global
from tests.helpers import loader, trainer

ROOT = Path(__file__).parent.parent


def test_uint8_to_float_and_back_is_exact():
    stored = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    images = to_float(stored)
    assert images.min() == -1
    assert images.max() == 1
    assert torch.equal(to_uint8(images), stored)


def test_floats_are_rounded_and_clipped_never_truncated_or_wrapped():
    step = 2 / 255
    images = torch.tensor([-1.5, -1.0, -1 + 0.6 * step, -1 + 0.4 * step, 1 - 0.4 * step, 1.0, 7.0]).view(1, 1, 1, 7)
    assert to_uint8(images).flatten().tolist() == [0, 0, 1, 0, 255, 255, 255]


def test_grid_and_png(tmp_path):
    images = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    picture = grid(images, columns=3)
    assert picture.shape == (3, 2 * 5 + 1, 3 * 5 + 1)
    assert torch.equal(picture[0, 1:5, 1:5], images[0, 0])
    save_png(picture, tmp_path / "deep" / "grid.png")
    assert torch.equal(decode_image(tmp_path / "deep" / "grid.png"), picture)


PARTS = st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 9), st.text(max_size=4)), max_size=5)


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS.map(tuple), min_size=2, max_size=20, unique_by=repr))
def test_seeds_of_different_tuples_differ(tuples):
    seeds = [mix_seed(*parts) for parts in tuples]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix_seed(*tuples[0]) == seeds[0]


def test_seeds_that_once_were_equal_differ():
    assert mix_seed(3, 7) != mix_seed(3, 7, 0)
    assert mix_seed(5 + 9 * 2**32, 1) != mix_seed(5, 9, 1)
    assert mix_seed("1") != mix_seed(1)
    assert mix_seed("a", "b") != mix_seed("a', 'b")
    assert mix_seed(True) == mix_seed(1)


def test_the_noise_of_a_training_batch_is_that_of_no_image():
    torch.manual_seed(0)
    model = DCGAN((1, 8, 8), width=2)
    model.trainer = trainer()
    model.noise_seed = 3
    model.begin_batch()
    noise = torch.randn(4, 6)
    images = randn(64, 6, generator=image_generators(3, range(64)))
    assert torch.cdist(noise, images).min() > 0.1


def test_many_images_have_distinct_streams_of_the_cpus_generator():
    """It uses 32 bits of the seed, so that 200,000 random seeds would have about five pairs of equal streams."""
    states = {one.initial_seed() for one in image_generators(3, range(200_000))}
    assert len(states) == 200_000
    assert max(states) < 2**32
    noise = randn(20_000, 1, generator=image_generators(3, range(20_000))).flatten()
    assert abs(noise.mean()) < 4 / 20_000**0.5
    assert abs((noise[1:] * noise[:-1]).mean()) < 4 / 20_000**0.5  # neighbours are uncorrelated


def test_an_images_noise_is_its_own():
    together = randn(4, 3, 2, generator=image_generators(5, range(4)))
    alone = torch.cat([randn(1, 3, 2, generator=image_generators(5, [i])) for i in range(4)])
    assert torch.equal(together, alone)
    assert len(together.flatten(1).unique(dim=0)) == 4
    with pytest.raises(ValueError, match="3 generators for 4"):
        randn(4, 2, generator=image_generators(0, range(3)))


def test_seeding_the_global_generator():
    seed_global(3, torch.device("cpu"))
    first = torch.randn(4)
    seed_global(3, torch.device("cpu"))
    assert torch.equal(torch.randn(4), first)


def test_atomic_keeps_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), atomic(path) as temporary:
        temporary.write_text("n\u00e9w", encoding="ascii")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_atomic_keeps_the_old_file_when_the_process_is_killed(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    script = f"""
import os, signal
from pathlib import Path
from lightning_gen.cache import atomic
with atomic(Path(r"{path}")) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"), atomic(tmp_path / "file" / "below" / "a.json"):
        pass


def test_the_cache_is_where_the_user_wants_it(monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", "/somewhere")
    assert cache_dir() == Path("/somewhere")
    monkeypatch.delenv("LIGHTNING_GEN_CACHE")
    assert cache_dir().name == "lightning_gen"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
def test_a_gan_trains_and_samples_on_a_gpu(precision):
    pl.seed_everything(0)
    model = DCGAN((1, 16, 16), width=8, latent_dim=6, ema_half_life=50.0, clip=1.0)
    trainer(accelerator="cuda", precision=precision).fit(model, loader(50))
    model.cuda()
    images = model.sample(3, generator=image_generators(0, range(3)))
    assert images.device.type == "cuda"
    assert torch.isfinite(images).all()
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
