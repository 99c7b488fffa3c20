"""Decoding in workers: order, errors, archives, and small JPEG files."""

import io
import os
import random
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.data import parallel
from lightning_gen.data.decode import Framing, decode_image, open_image
from lightning_gen.data.files import Zip
from lightning_gen.data.jpeg import decode_small_jpeg, read_small_jpeg_header
from lightning_gen.data.parallel import map_ranges
from lightning_gen.errors import InputError
from tests.image_files import folder_data, random_pixels, save_image, write_pets, write_zip


@pytest.fixture
def workers(monkeypatch):
    """Start two workers for any number of calls."""
    monkeypatch.setattr(parallel, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(parallel, "num_workers", lambda: 2)


def jpeg(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def clouds(seed: int, *shape: int) -> np.ndarray:
    coarse = Image.fromarray(random_pixels(seed, 4, 4, *shape[2:]))
    return np.asarray(coarse.resize(shape[1::-1], Image.Resampling.BICUBIC))


def test_results_are_in_order_and_of_workers(workers):
    state = torch.get_rng_state()
    results = list(map_ranges(lambda part: (list(part), os.getpid()), 100, 7))
    assert [index for part, _ in results for index in part] == list(range(100))
    pids = [pid for _, pid in results]
    assert pids[0] == os.getpid()  # the first is timed here
    assert len(set(pids[1:])) == 2
    assert os.getpid() not in pids[1:]
    assert torch.equal(state, torch.get_rng_state())
    assert list(map_ranges(list, 0)) == []


def test_a_short_job_starts_no_workers(monkeypatch):
    monkeypatch.setattr(parallel, "MIN_SECONDS", 1e9)
    assert set(map_ranges(lambda _: os.getpid(), 50, 5)) == {os.getpid()}


def test_a_daemonic_process_starts_no_workers(monkeypatch):
    monkeypatch.setattr(parallel, "MIN_SECONDS", 0.0)
    [pids] = parallel.DataLoader(Pids(), batch_size=None, num_workers=1, multiprocessing_context="fork")
    assert len(pids) == 1
    assert os.getpid() not in pids


class Pids(parallel.Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> set[int]:
        return set(map_ranges(lambda _: os.getpid(), 50, 5))


def test_invalid_input_is_reported_from_workers(workers):
    def call(part: range) -> int:
        if 60 in part:
            raise InputError("image 60 is damaged")
        return len(part)

    with pytest.raises(InputError, match=r"^image 60 is damaged$"):
        list(map_ranges(call, 100, 7))


def test_workers_decode_the_same_array(tmp_path, monkeypatch):
    pets = write_pets(tmp_path)
    images = folder_data(pets).image_set("train")
    content = images.path.read_bytes()
    images.path.unlink()
    for name in ("MIN_SECONDS", "CHUNK_SECONDS"):
        monkeypatch.setattr(parallel, name, 0.0)
    monkeypatch.setattr(parallel, "num_workers", lambda: 2)
    assert folder_data(pets).image_set("train").path.read_bytes() == content
    (pets / "dog" / "9.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"9\.png cannot be decoded"):
        folder_data(pets).prepare_data()


def test_workers_read_an_archive_at_positions_of_their_own(tmp_path, workers):
    archive = Zip(write_zip(write_pets(tmp_path)))
    names = sorted(archive.names())
    alone = [archive.read(name) for name in names]
    num = 200 * len(names)
    parts = map_ranges(lambda part: [archive.read(names[i % len(names)]) for i in part], num, 4)
    assert [data for part in parts for data in part] == alone * 200


def test_workers_end_with_the_process_that_started_them(tmp_path):
    script = f"""
        import os, signal, time
        from lightning_gen.data import parallel
        parallel.MIN_SECONDS, parallel.num_workers = 0.0, lambda: 2
        def call(part):
            open({str(tmp_path)!r} + f"/{{os.getpid()}}", "w").close()
            time.sleep(0.1)
        for number, _ in enumerate(parallel.map_ranges(call, 10_000, 1)):
            if number == 20:
                os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 3
    deadline = time.monotonic() + 30  # a worker looks for its parent every five seconds
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}, {"comment": "a"}]
)
@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28), (17, 33, 3), (1, 1, 3)])
def test_small_jpeg_files_have_pillows_pixels(shape, options):
    data = jpeg(clouds(0, *shape), quality=85, **options)
    with open_image(data) as image:
        assert read_small_jpeg_header(data) == (image.mode, image.size)
        assert np.array_equal(np.asarray(decode_small_jpeg(data)), np.asarray(image))


def test_other_files_are_left_to_pillow(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    png = io.BytesIO()
    Image.new("RGB", (4, 4)).save(png, "PNG")
    cmyk = io.BytesIO()
    Image.new("CMYK", (4, 4)).save(cmyk, "JPEG")
    plain = jpeg(clouds(0, 16, 16, 3))
    large = jpeg(random_pixels(0, 200, 200, 3), quality=100)
    for data in (b"", png.getvalue(), cmyk.getvalue(), jpeg(clouds(0, 8, 8, 3), exif=exif), large, plain[:100]):
        assert read_small_jpeg_header(data) is None
        assert decode_small_jpeg(data) is None
    assert decode_small_jpeg(plain[:-40]) is None  # Pillow says what is wrong with it


def test_damaged_jpeg_files_are_decoded_as_pillow_does():
    def decoded(opened) -> bytes | None:
        try:
            return decode_image(opened(), Framing(3, 16)).tobytes()
        except Exception:
            return None

    whole, rng = jpeg(clouds(1, 24, 24, 3)), random.Random(0)
    outcomes = []
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] = rng.randrange(256)
        data = bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        ours = decoded(lambda data=data: decode_small_jpeg(data) or open_image(data))
        assert ours == decoded(lambda data=data: open_image(data))
        outcomes.append(ours is None)
    assert {True, False} == set(outcomes)


def test_a_folder_of_small_jpeg_files(tmp_path):
    for index in range(6):
        save_image(tmp_path / "x" / f"{index}.jpg", clouds(index, 20, 12, 3))
    data = folder_data(tmp_path / "x", image_size=12)
    assert data.image_shape == (3, 12, 12)
    with Image.open(tmp_path / "x" / "0.jpg") as image:
        first = decode_image(image, Framing(3, 12))
    served = torch.cat([data.image_set("train")[:], data.image_set("test")[:]])
    assert any(np.array_equal(first, image) for image in served.numpy())
