"""Files that are no images, no folders or no caches: refused or written again, without a hang."""

import json
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from lightning_gen.cache import cache_dir
from lightning_gen.cli import main
from lightning_gen.data import ImageData, sources
from lightning_gen.data.folder import folder_set
from lightning_gen.errors import InputError
from lightning_gen.evaluation.array_cache import cached, read_arrays, write_arrays
from lightning_gen.evaluation.classifier import is_classifier
from tests.image_files import folder_data, random_pixels, save_image, write_images, write_pets


def test_a_pipe_among_images_is_refused_or_skipped(tmp_path):
    pets = write_pets(tmp_path)
    os.mkfifo(pets / "cat" / "x.png")
    with pytest.raises(InputError, match=r"cat/x.png cannot be decoded \(it is not a regular file\)"):
        folder_data(pets).image_set("train")
    data = folder_data(pets, on_corrupt="skip", holdout=0.3)
    with pytest.warns(UserWarning, match=r"1 of \d+ images could not be decoded"):
        num = len(data.image_set("train")) + len(data.image_set("test"))
    assert num == 20


def test_a_link_to_an_endless_device_is_refused(tmp_path):
    pets = write_pets(tmp_path)
    (pets / "zero.png").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"zero.png cannot be decoded \(it is not a regular file\)"):
        folder_set(pets)


def test_a_pipe_is_no_dataset_and_no_partition(tmp_path):
    pipe = tmp_path / "images.zip"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="is not a zip archive"):
        folder_data(pipe).image_set("train")
    write_images(tmp_path / "img_align_celeba", ["000001.jpg"])
    os.mkfifo(tmp_path / "list_eval_partition.txt")
    with pytest.raises(InputError, match="incomplete"), pytest.warns(UserWarning, match="of CelebA's"):
        ImageData("celeba", str(tmp_path)).image_set("train")


@pytest.mark.parametrize("number", ["-1", "3", str(2**70), "x", "0.5"])
def test_a_partition_with_an_invalid_number(tmp_path, number):
    write_images(tmp_path / "img_align_celeba", ["000001.jpg"])
    (tmp_path / "list_eval_partition.txt").write_text(f"000001.jpg {number}\n")
    with pytest.raises(InputError, match="is not a partition list"):
        ImageData("celeba", str(tmp_path)).image_set("train")


def test_a_postscript_file_named_as_an_image_runs_no_interpreter(tmp_path, monkeypatch):
    pets = write_pets(tmp_path)
    save_image(pets / "x.eps", random_pixels(0, 8, 8, 3))
    (pets / "x.eps").rename(pets / "x.png")
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **kwargs: started.append(args))
    with pytest.raises(InputError, match="it is no image of the formats PNG, JPEG, WEBP, BMP, GIF"):
        folder_set(pets)
    assert not started


def test_links_that_lead_back_are_not_followed(tmp_path):
    pets = write_pets(tmp_path)
    for folder in (pets, pets / "cat", pets / "dog"):
        for index in range(3):
            (folder / f"back{index}").symlink_to(pets)
    start = time.monotonic()
    assert len(folder_set(pets)) == 20
    assert time.monotonic() - start < 5


def test_a_link_to_another_folder_is_followed(tmp_path):
    pets = write_pets(tmp_path)
    (pets / "bird").symlink_to(write_images(tmp_path / "elsewhere", ["0.png", "1.png"]))
    assert len(folder_set(pets)) == 22


@pytest.mark.parametrize("root", ["nowhere", "nowhere/further"])
def test_a_root_that_does_not_exist_is_not_created(tmp_path, root):
    assert len(ImageData("digits", str(tmp_path / root)).image_set("train")) == 1437
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(InputError, match="mnist is missing"):
        ImageData("mnist", str(tmp_path / root)).image_set("train")
    assert not (tmp_path / "nowhere").exists()


def test_digits_leave_nothing_in_their_root(tmp_path):
    ImageData("digits", str(tmp_path)).image_set("train")
    assert not [*tmp_path.iterdir()]


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "a list": lambda path: path.write_text("[1, 2]"),
    "another dictionary": lambda path: path.write_text('{"skipped": "all", "fingerprint": 3}'),
    "null": lambda path: path.write_text('{"skipped": null, "sizes": null}'),
    "deep": lambda path: path.write_text("[" * 100_000),
    "another array": lambda path: np.save(path.open("wb"), np.zeros((2, 3))),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["*.npy", "*[!n].json", "*.scan.json"])
def test_a_damaged_store_is_written_again_with_a_warning(tmp_path, kind, damage, monkeypatch):
    monkeypatch.setattr(sources, "CHANGE_TIME_RESOLUTION", -1)  # a scan is kept, however new the files are
    root = write_pets(tmp_path)
    expected = folder_data(root).image_set("train")[:]
    paths = [*(tmp_path / ".lightning_gen").glob(kind)]
    assert paths
    for path in paths:
        DAMAGES[damage](path)
    with pytest.warns(UserWarning, match="is damaged"):
        again = folder_data(root).image_set("train")
    assert np.array_equal(again[:], expected)
    assert all(path.is_file() for path in paths)


def test_a_store_with_an_impossible_list_of_omitted_images_is_written_again(tmp_path):
    root = write_pets(tmp_path)
    folder_data(root).image_set("train")
    for path in tmp_path.rglob("*.json"):
        if ".scan." not in path.name:
            path.write_text(json.dumps(json.loads(path.read_text()) | {"skipped": [2**70]}))
    with pytest.warns(UserWarning, match="is damaged"):
        assert folder_data(root).skipped == 0


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_computed_again_with_a_warning(tmp_path, damage):
    path = tmp_path / "x.npz"
    arrays = {"a": np.arange(3)}
    write_arrays(path, arrays)
    DAMAGES[damage](path)
    with pytest.warns(UserWarning, match="is damaged"):
        assert cached(path, lambda: arrays, lambda read: read.keys() == {"a"}) is arrays
    assert read_arrays(path)["a"].tolist() == [0, 1, 2]


def test_a_cache_of_other_arrays_is_computed_again(tmp_path):
    path = tmp_path / "x.npz"
    write_arrays(path, {"b": np.arange(3)})
    with pytest.warns(UserWarning, match="other names or shapes"):
        assert cached(path, lambda: {"a": np.arange(2)}, lambda read: read.keys() == {"a"}).keys() == {"a"}
    assert not is_classifier({"b": np.arange(3)}, (1, 8, 8), 10)


def write_idx(folder: Path, name: str, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    (folder / name).write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((20, 28, 28)), np.zeros(19), "it has 20 images and 19 labels"),
        (np.zeros((20, 28, 28)), np.full(20, 11), "its labels are 11 to 11, and it has 10 classes"),
        (np.zeros((0, 28, 28)), np.zeros(0), "mnist is missing or damaged"),
        (np.zeros((20, 28)), np.zeros(20), "mnist is missing or damaged"),
    ],
)
def test_mnist_with_files_that_do_not_belong_together(tmp_path, images, labels, message):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        write_idx(folder, f"{part}-images-idx3-ubyte", images)
        write_idx(folder, f"{part}-labels-idx1-ubyte", labels)
    with pytest.raises(InputError, match=message) as raised:
        ImageData("mnist", str(tmp_path)).image_set("train")
    assert "\n" not in str(raised.value)


def test_an_unwritable_cache_is_noticed_before_any_work(tmp_path, monkeypatch, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(blocked / "cache"))
    assert cache_dir() == blocked / "cache"
    for command in (
        ["evaluate", "--ckpt", "nowhere"],
        ["fit", "--model=DCGAN", "--data.name=mnist", f"--runs={tmp_path / 'runs'}"],
    ):
        assert main(command) == 2
        assert "LIGHTNING_GEN_CACHE" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_image_files_of_every_documented_format_are_read(tmp_path):
    for ending in ("png", "jpg", "jpeg", "webp", "bmp", "gif"):
        save_image(tmp_path / "all" / f"x.{ending}", Image.new("RGB", (8, 8), "red"))
    assert len(folder_set(tmp_path / "all")) == 6
