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


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.integers(0, 7), st.integers(0, 10**6)), min_size=2, max_size=9, unique=True
    )
)
def test_seeds_of_different_purposes_differ(parts):
    assert len({mix_seed(*part) for part in parts}) == len(parts)
    assert mix_seed(*parts[0]) == mix_seed(*parts[0])
    assert mix_seed("validation", 0) != mix_seed("score", 0)


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
