"""The named datasets, and the table of them."""

import pickle
import zipfile
from pathlib import Path
from typing import get_args
from urllib.error import URLError

import numpy as np
import pytest
import torchvision
from jsonargparse import ArgumentParser

from lightning_gen.data import ImageData
from lightning_gen.data.datasets import DATASETS, DatasetName, find_dataset
from lightning_gen.errors import InputError
from tests.image_files import random_pixels, save_image, write_images


def test_the_choices_of_the_command_line_are_the_records():
    assert get_args(DatasetName) == tuple(DATASETS)
    assert all(name == info.name for name, info in DATASETS.items())
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ImageData, "data")
    assert f"--data.name {{{','.join(DATASETS)}}}" in parser.format_help()
    with pytest.raises(Exception, match=rf"(?s)data\.name.*{'.*'.join(DATASETS)}.*imagenet"):
        parser.parse_args(["--data.name", "imagenet"])


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=rf"data.name is 'imagenet'; it must be one of {', '.join(DATASETS)}$"):
        find_dataset("imagenet")


def write_idx(raw: Path, part: str, num: int) -> np.ndarray:
    raw.mkdir(parents=True, exist_ok=True)
    images = random_pixels(num, num, 28, 28)
    header = b"".join(value.to_bytes(4, "big") for value in (0x803, num, 28, 28))
    (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    labels = bytes(index % 10 for index in range(num))
    (raw / f"{part}-labels-idx1-ubyte").write_bytes((0x801).to_bytes(4, "big") + num.to_bytes(4, "big") + labels)
    return images


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_mnist(tmp_path, name, folder):
    images = write_idx(tmp_path / folder / "raw", "train", 30)
    write_idx(tmp_path / folder / "raw", "t10k", 10)
    data = ImageData(name, str(tmp_path))
    assert (data.image_shape, data.num_classes) == ((1, 32, 32), 10)
    train = data.image_set("train")
    assert np.array_equal(train[:].numpy(), np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None])  # lossless
    assert train.labels.tolist() == [index % 10 for index in range(30)]
    assert np.array_equal(ImageData(name, str(tmp_path), 28).image_set("train")[:].numpy()[:, 0], images)
    assert ImageData(name, str(tmp_path), 16, 3).image_set("val")[:].shape == (10, 3, 16, 16)
    labels = tmp_path / folder / "raw" / "train-images-idx3-ubyte"
    labels.write_bytes(labels.read_bytes()[:1000])
    with pytest.raises(InputError, match=f"{name} is missing or damaged"):
        ImageData(name, str(tmp_path)).image_set("train")


def test_cifar10(tmp_path, monkeypatch):
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    for index, (name, _) in enumerate(torchvision.datasets.CIFAR10.train_list + torchvision.datasets.CIFAR10.test_list):
        (batches / name).write_bytes(pickle.dumps({"data": random_pixels(index, 4, 3072), "labels": [0, 1, 2, 9]}))
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda _: True)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_load_meta", lambda _: None)
    data = ImageData("cifar10", str(tmp_path))
    assert (data.image_shape, data.num_classes) == ((3, 32, 32), 10)
    assert np.array_equal(data.image_set("train")[:4].numpy().reshape(4, -1), random_pixels(0, 4, 3072))
    assert data.image_set("test").labels.tolist() == [0, 1, 2, 9]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("mnist", ["t10k-labels-idx1-ubyte", "MNIST/raw"]),
        ("fashion_mnist", ["train-images-idx3-ubyte", "FashionMNIST/raw"]),
        ("cifar10", ["cifar-10-python.tar.gz"]),
        ("celeba", ["img_align_celeba.zip", "list_eval_partition.txt", "celeba"]),
    ],
)
def test_missing_dataset_is_reported_with_its_files(tmp_path, name, files, monkeypatch):
    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", offline)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    monkeypatch.setattr("torchvision.datasets.celeba.download_file_from_google_drive", offline)
    for download, words in ((False, "data.download to true"), (True, "could not be downloaded")):
        data = ImageData(name, str(tmp_path / "data"), download=download)
        assert data.image_shape
        with pytest.raises(InputError, match=words) as caught:
            data.prepare_data()
        assert str(caught.value).count("\n") < 3
        for file in (*files, str(tmp_path / "data")):
            assert file in str(caught.value)


FACES = ["000001.jpg", "000002.jpg", "162771.jpg", "182637.jpg", "182638.jpg"]


@pytest.mark.parametrize("path", ["celeba/img_align_celeba", "img_align_celeba"])
@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("listed", [False, True])
def test_celeba(tmp_path, path, archive, listed):
    folder = write_images(tmp_path / path, FACES, (218, 178, 3))
    if listed:
        lines = [f"{name} {part}" for name, part in zip(FACES, (1, 0, 0, 0, 2), strict=True)]
        (folder.parent / "list_eval_partition.txt").write_text("\n".join(lines))
    if archive:
        with zipfile.ZipFile(f"{folder}.zip", "w") as file:
            for name in FACES:
                file.write(folder / name, f"img_align_celeba/{name}")
                (folder / name).unlink()
        folder.rmdir()
    data = ImageData("celeba", str(tmp_path))
    assert (data.image_shape, data.num_classes) == ((3, 64, 64), 0)
    assert [len(data.image_set(split)) for split in ("train", "val", "test")] == ([3, 1, 1] if listed else [2, 2, 1])


def test_celeba_is_cropped_to_148(tmp_path):
    face = np.zeros((218, 178, 3), np.uint8)
    face[35:183, 15:163] = 255
    for name in FACES:
        save_image(tmp_path / "img_align_celeba" / name, face, quality=100)
    with pytest.warns(UserWarning, match="5 of CelebA's 202,599"):
        assert ImageData("celeba", str(tmp_path)).image_set("train")[:].min() > 250


def test_incomplete_celeba(tmp_path):
    write_images(tmp_path / "celeba" / "img_align_celeba", FACES, (218, 178, 3))
    partition = tmp_path / "celeba" / "list_eval_partition.txt"
    partition.write_text("000001.jpg 0\n000009.jpg 0\n000010.jpg 1\n")
    with pytest.raises(InputError, match=r"lacks 2 of the images .* 000009\.jpg"):
        ImageData("celeba", str(tmp_path)).prepare_data()
    partition.write_text("a list of other things\n")
    with pytest.raises(InputError, match="not a partition list"):
        ImageData("celeba", str(tmp_path)).prepare_data()
    partition.unlink()
    (tmp_path / "celeba" / "img_align_celeba" / FACES[-1]).unlink()
    with pytest.raises(InputError, match="no test images"):
        ImageData("celeba", str(tmp_path)).prepare_data()
