"""Folders and zip archives of images: splits, classes, and damaged files."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from lightning_gen.data import ImageData, files, folder_set
from lightning_gen.data.sources import FileSource
from lightning_gen.errors import InputError
from tests.image_files import folder_data, random_pixels, save_image, write_images, write_pets, write_zip


@pytest.fixture
def pets(tmp_path) -> Path:
    return write_pets(tmp_path)


def test_folder_with_classes(pets):
    data = folder_data(pets)
    assert (data.image_shape, data.num_classes) == ((3, 8, 8), 2)
    train, test = data.image_set("train"), data.image_set("test")
    assert (train.name, len(train), len(test)) == ("pets/train", 18, 2)
    label_of = {random_pixels(index, 8, 8, 3).transpose(2, 0, 1).tobytes(): index // 10 for index in range(20)}
    for images in (train, test):
        assert [label_of[bytes(image)] for image in images[:].numpy()] == images.labels.tolist()


def test_holdout_is_the_same_for_every_seed(pets):
    first, second = (folder_data(pets, seed=seed, holdout=0.25).image_set("test") for seed in (0, 1))
    assert len(first) == 5
    assert first.key == second.key


def test_zip_equals_folder(pets, tmp_path):
    (pets / "labels.csv").write_text("not an image")
    (pets / "cat" / ".DS_Store.png").write_text("not an image")
    (pets / "__MACOSX").mkdir()
    (pets / "__MACOSX" / "0.png").write_text("not an image")
    for split in ("train", "test"):
        from_zip, from_folder = (folder_data(root).image_set(split) for root in (write_zip(pets), pets))
        assert from_zip.key == from_folder.key
        assert np.array_equal(from_zip.labels, from_folder.labels)
        assert from_zip[:].equal(from_folder[:])
        assert pickle.loads(pickle.dumps(from_zip))[:1].equal(from_zip[:1])


@pytest.mark.parametrize(
    ("name", "is_image"),
    [
        ("a.png", True),
        ("./a/b.JPG", True),
        ("a/b.c/d.webp", True),
        (".a.png", False),
        ("a/.b/c.png", False),
        ("a/.png", False),
        ("a/__MACOSX/b.png", False),
        ("../a.png", False),
        ("a.png/b", False),
        ("a.tif", False),
    ],
)
def test_which_files_are_images(name, is_image):
    assert files._is_image(name) == is_image


def test_a_folder_is_listed_and_scanned_once(pets, monkeypatch):
    calls = []
    for kind, method in ((files.Folder, "names"), (FileSource, "scan")):
        function = getattr(kind, method)

        def counted(self, *args, method=method, function=function):
            calls.append(method)
            return function(self, *args)

        monkeypatch.setattr(kind, method, counted)
    data = folder_data(pets)
    data.prepare_data()
    assert data.num_classes == 2
    assert sorted(calls) == ["names", "scan", "scan"]  # train and test


def test_names_below_a_relative_folder(pets, monkeypatch):
    expected = sorted(f"{pet}/{index}.png" for pet in ("cat", "dog") for index in range(10))
    monkeypatch.chdir(pets)
    for path in (Path(), pets, pets.parent / "pets"):
        assert sorted(files.Folder(path).names()) == expected


def test_a_folder_of_all_images_is_not_a_class(tmp_path):
    flat = folder_data(write_images(tmp_path / "flat", [f"images/{index}.png" for index in range(4)]))
    assert flat.num_classes == 0
    assert flat.image_set("train").labels is None
    assert next(iter(flat.val_dataloader())).labels is None
    deep = folder_data(write_images(tmp_path / "deep", ["top/a/x/0.png", "top/a/y/1.png", "top/b/0.png"]))
    assert deep.num_classes == 2


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_folder_with_splits(tmp_path, val):
    names = [f"{split}/{pet}/{i}.png" for split in ("train", val, "test") for pet in "ab" for i in range(2)]
    data = folder_data(write_images(tmp_path / "x", [*names, "test/a/2.png"]))
    assert [len(data.image_set(split)) for split in ("train", "val", "test")] == [4, 4, 5]
    assert data.image_set("val").name == "x/val"
    assert data.num_classes == 2


def test_a_missing_split_equals_the_other(tmp_path):
    only_test = folder_data(write_images(tmp_path / "x", ["train/0.png", "train/1.png", "test/2.png"]))
    assert only_test.image_set("val").key == only_test.image_set("test").key
    only_val = folder_data(write_images(tmp_path / "y", ["train/0.png", "train/1.png", "val/2.png"]))
    assert only_val.image_set("test").name == "y/val"
    assert only_val.num_classes == 0


def test_a_class_may_be_named_train(tmp_path):
    data = folder_data(
        write_images(tmp_path / "x", [f"{kind}/{index}.png" for kind in ("train", "bus") for index in range(3)])
    )
    assert data.num_classes == 2
    assert len(data.image_set("train")) == 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.mkdir(), "contains no images"),
        (lambda root: root.write_text("x"), "is not a zip archive"),
        (lambda root: write_images(root, ["0.png"]), "at least two"),
    ],
)
def test_unusable_folder(tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(InputError, match=message) as caught:
        folder_data(tmp_path / "x").image_set("train")
    assert str(tmp_path / "x") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x" / ".lightning_gen").exists()


def test_truncated_zip(pets):
    archive = write_zip(pets)
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a complete zip archive"):
        folder_data(archive).image_set("train")


def test_folder_set_contains_all_images_at_their_own_size(pets, tmp_path):
    images = folder_set(pets)
    assert (images.name, images.labels, len(images), images[:1].shape) == ("pets/all", None, 20, (1, 3, 8, 8))
    assert images[:1].numpy().tobytes() == random_pixels(0, 8, 8, 3).transpose(2, 0, 1).tobytes()
    save_image(pets / "wide.png", random_pixels(0, 8, 12, 3))
    with pytest.raises(InputError, match=r"differ in size \(8x8, 12x8"):
        folder_set(pets)
    assert folder_set(pets, 4)[:].shape == (21, 3, 4, 4)
    assert folder_set(write_images(tmp_path / "grey", ["0.png", "1.png"], (5, 7)))[:].shape == (2, 1, 5, 7)


# -- damaged files


@pytest.fixture
def damaged(pets) -> Path:
    (pets / "cat" / "3.png").write_text("not an image")
    content = (pets / "dog" / "4.png").read_bytes()
    (pets / "dog" / "4.png").write_bytes(content[: len(content) // 2])
    return pets


def test_damaged_image_is_reported_by_name(damaged):
    for data in (folder_data(damaged), folder_data(write_zip(damaged))):
        assert data.image_shape == (3, 8, 8)
        with pytest.raises(InputError, match=r"(cat.3|dog.4)\.png cannot be decoded.*on_corrupt") as caught:
            data.prepare_data()
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be decoded"):
        folder_set(damaged)


def test_damaged_images_can_be_skipped(damaged):
    for _ in range(2):  # decoded, then read from the cache
        data = folder_data(damaged, on_corrupt="skip", holdout=0.01)
        with pytest.warns(UserWarning, match=r"2 of 19 images could not be decoded .*cat.3\.png"):
            train = data.image_set("train")
        assert data.skipped == 2
        assert len(train) == len(train.labels) == 17
        label_of = {random_pixels(index, 8, 8, 3).transpose(2, 0, 1).tobytes(): index // 10 for index in range(20)}
        assert [label_of[bytes(image)] for image in train[:].numpy()] == train.labels.tolist()
    with pytest.raises(InputError, match=r"cat.3\.png"):
        folder_data(damaged, holdout=0.01).image_set("train")


def test_unreadable_files_count_as_damage(pets):
    (pets / "cat" / "link.png").symlink_to(pets / "nowhere")
    with pytest.raises(InputError, match=r"cat.link\.png cannot be decoded"):
        folder_set(pets)
    (pets / "cat" / "link.png").unlink()
    archive = write_zip(pets)
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # marks the first file as encrypted
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"0\.png cannot be decoded .*encrypted"):
        folder_set(archive)


def test_all_images_are_damaged(tmp_path):
    (tmp_path / "x").mkdir()
    for index in range(3):
        (tmp_path / "x" / f"{index}.jpg").write_text("not an image")
    with pytest.raises(InputError, match="none of the 2 images of x/train"):
        folder_data(tmp_path / "x", on_corrupt="skip").image_set("train")
    with pytest.raises(InputError, match="none of the 3 images"):
        folder_set(tmp_path / "x")


def test_val_is_the_test_set_or_a_fixed_part_of_train(pets):
    plain, held = folder_data(pets), folder_data(pets, val="holdout")
    assert plain.image_set("val").key == plain.image_set("test").key == held.image_set("test").key
    parts = [{bytes(image) for image in held.image_set(split)[:].numpy()} for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [16, 2, 2]
    assert len(set.union(*parts)) == 20
    assert parts[0] | parts[1] == {bytes(image) for image in plain.image_set("train")[:].numpy()}
    assert folder_data(pets, val="holdout", seed=1).image_set("val").key == held.image_set("val").key
    assert (held.image_set("train").name, held.image_set("val").name) == ("pets-without-val/train", "pets-held-out/val")
    for split in ("train", "val", "test"):
        for number in range(4):
            save_image(pets.parent / "split" / split / f"{number}.png", random_pixels(number, 8, 8, 3))
            if split != "test":  # its val folder is the test set, too
                save_image(pets.parent / "half" / split / f"{number}.png", random_pixels(number + len(split), 8, 8, 3))
    half = folder_data(pets.parent / "half", val="holdout")
    assert [len(half.image_set(split)) for split in ("train", "val", "test")] == [3, 1, 4]
    assert half.image_set("val").key != half.image_set("test").key
    with pytest.raises(InputError, match="val is holdout, and split/val is a validation set of its own"):
        folder_data(pets.parent / "split", val="holdout").image_set("train")


def test_a_held_out_val_of_the_digits(tmp_path):
    data = ImageData("digits", root=str(tmp_path), val="holdout", leave_out=(3,))
    plain = ImageData("digits", root=str(tmp_path), leave_out=(3,))
    sizes = [len(data.image_set(split)) for split in ("train", "val", "test")]
    assert sizes[0] + sizes[1] == len(plain.image_set("train"))
    assert 110 <= sizes[1] <= 150
    assert sizes[2] == 360
    assert 3 not in data.image_set("val").labels
