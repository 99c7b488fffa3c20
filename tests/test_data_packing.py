"""The arrays of decoded images on disk: keys, interrupted and concurrent writes."""

import os
import signal
import subprocess
import sys
import textwrap
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lightning_gen.data import packing
from lightning_gen.errors import InputError
from tests.image_files import folder_data, random_pixels, save_image, write_pets


@pytest.fixture
def pets(tmp_path) -> Path:
    return write_pets(tmp_path)


def test_key_depends_on_the_content(pets):
    def key(**options) -> str:
        return folder_data(pets, holdout=0.01, **options).image_set("train").key

    first = key()
    assert key() == first
    assert len({first, key(image_size=4), key(channels=1)}) == 3
    target, stat = pets / "cat" / "5.png", (pets / "cat" / "5.png").stat()
    os.utime(target)
    assert key() == first  # new times, same content
    before = target.read_bytes()
    save_image(pets / "cat" / "5.png", 255 - random_pixels(5, 8, 8, 3))
    target.write_bytes(target.read_bytes().ljust(len(before), b"\0")[: max(len(before), target.stat().st_size)])
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert target.stat().st_size == stat.st_size
    assert key() != first
    target.rename(pets / "dog" / "5b.png")
    assert len({first, key()}) == 2


def test_unchanged_files_are_not_read_again(pets, monkeypatch):
    monkeypatch.setattr("lightning_gen.data.sources.time.time", lambda: 2e10)  # long after the files changed
    key = folder_data(pets).image_set("train").key
    monkeypatch.setattr("lightning_gen.data.files.Folder.read", lambda *_: pytest.fail("read again"))
    data = folder_data(pets)
    assert data.image_shape == (3, 8, 8)
    assert data.image_set("train").key == key


def test_killed_packing_leaves_the_old_array_unchanged(pets):
    old = folder_data(pets).image_set("train")
    content = old.path.read_bytes()
    save_image(pets / "cat" / "0.png", random_pixels(99, 8, 8, 3))
    script = f"""
        import os, signal
        from lightning_gen.data import ImageData, packing
        decode, calls = packing.decode_image, []
        def killed(*arguments):
            calls.append(1)
            return os.kill(os.getpid(), signal.SIGKILL) if len(calls) > 10 else decode(*arguments)
        packing.decode_image = killed
        ImageData("folder", {str(pets)!r}, image_size=8).prepare_data()
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False).returncode == -signal.SIGKILL
    folder = old.path.parent
    assert old.path.read_bytes() == content
    assert len(list(folder.glob(".*.tmp"))) == 1
    save_image(pets / "cat" / "1.png", random_pixels(98, 8, 8, 3))  # the unfinished array is outdated now
    assert len(list(folder.glob("*train*.npy"))) == 1
    new = folder_data(pets).image_set("train")
    assert new.key != old.key
    assert len(new) == 18
    assert not list(folder.glob(".*.tmp"))


def test_a_truncated_array_is_written_again(pets):
    images = folder_data(pets).image_set("train")
    content = images.path.read_bytes()
    for truncated in (content[:-1], b""):
        images.path.write_bytes(truncated)
        assert folder_data(pets).image_set("train").path.read_bytes() == content


def test_one_thread_packs_while_others_wait(pets, monkeypatch):
    write, packed = packing._write_array, []
    monkeypatch.setattr(
        packing, "_write_array", lambda source, *rest: packed.append(source.name) or write(source, *rest)
    )
    with ThreadPoolExecutor(4) as pool:
        keys = set(pool.map(lambda _: folder_data(pets).image_set("train").key, range(4)))
    assert len(keys) == 1
    assert sorted(packed) == ["pets/test", "pets/train"]


def test_read_only_data_is_packed_in_the_cache(pets, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "cache"))
    read_only = tmp_path / "read_only"
    read_only.mkdir()
    pets = pets.rename(read_only / "pets")
    read_only.chmod(0o555)
    try:
        images = folder_data(pets).image_set("train")
    finally:
        read_only.chmod(0o755)
    assert (tmp_path / "cache") in images.path.parents
    assert list(read_only.iterdir()) == [pets]


def test_full_disk(pets, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: usage(10))
    with pytest.raises(InputError, match="GB left"):
        folder_data(pets).image_set("train")
