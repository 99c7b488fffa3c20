"""From what lies on disk to decoded arrays: layouts, formats, damage, and the cache of decoded images."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from lightning_gen.data import ImageData, folder_set, packing
from lightning_gen.data.decode import Framing, is_colour, pixels
from lightning_gen.errors import InputError


def save(path: Path, image: Image.Image | np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def fill(folder: Path, names: list[str], shape=(8, 8, 3)) -> Path:
    for index, name in enumerate(names):
        save(folder / name, noise(index, *shape))
    return folder


def zipped(folder: Path) -> Path:
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.*")):
            file.write(path, path.relative_to(folder))
    return archive


def folder_data(root: Path, image_size: int = 8, **options) -> ImageData:
    return ImageData("folder", str(root), image_size=image_size, **options)


@pytest.fixture
def pets(tmp_path) -> Path:
    return fill(tmp_path / "pets", [f"{pet}/{index}.png" for pet in ("cat", "dog") for index in range(10)])


# -- folders and zips


def test_folder_with_classes(pets):
    data = folder_data(pets)
    assert (data.image_shape, data.num_classes) == ((3, 8, 8), 2)
    train, test = data.image_set("train"), data.image_set("test")
    assert (train.name, len(train), len(test)) == ("pets/train", 18, 2)
    pixels_of = {noise(index, 8, 8, 3).transpose(2, 0, 1).tobytes(): index // 10 for index in range(20)}
    for images in (train, test):
        assert [pixels_of[bytes(image)] for image in images[:].numpy()] == images.labels.tolist()


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
        inside, outside = (folder_data(root).image_set(split) for root in (zipped(pets), pets))
        assert inside.key == outside.key
        assert np.array_equal(inside.labels, outside.labels)
        assert inside[:].equal(outside[:])
        assert pickle.loads(pickle.dumps(inside))[:1].equal(inside[:1])


def test_a_lone_folder_on_top_is_no_class(tmp_path):
    flat = folder_data(fill(tmp_path / "flat", [f"images/{index}.png" for index in range(4)]))
    assert flat.num_classes == 0
    assert flat.image_set("train").labels is None
    assert next(iter(flat.val_dataloader())).labels is None
    deep = folder_data(fill(tmp_path / "deep", ["top/a/x/0.png", "top/a/y/1.png", "top/b/0.png"]))
    assert deep.num_classes == 2


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_folder_with_splits(tmp_path, val):
    names = [f"{split}/{pet}/{i}.png" for split in ("train", val, "test") for pet in "ab" for i in range(2)]
    data = folder_data(fill(tmp_path / "x", [*names, "test/a/2.png"]))
    assert [len(data.image_set(split)) for split in ("train", "val", "test")] == [4, 4, 5]
    assert data.image_set("val").name == "x/val"
    assert data.num_classes == 2


def test_missing_split_is_taken_from_the_other(tmp_path):
    only_test = folder_data(fill(tmp_path / "x", ["train/0.png", "train/1.png", "test/2.png"]))
    assert only_test.image_set("val").key == only_test.image_set("test").key
    only_val = folder_data(fill(tmp_path / "y", ["train/0.png", "train/1.png", "val/2.png"]))
    assert only_val.image_set("test").name == "y/val"
    assert only_val.num_classes == 0


def test_a_class_may_be_named_train(tmp_path):
    data = folder_data(fill(tmp_path / "x", [f"{kind}/{index}.png" for kind in ("train", "bus") for index in range(3)]))
    assert data.num_classes == 2
    assert len(data.image_set("train")) == 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "is not there"),
        (lambda root: root.mkdir(), "holds no images"),
        (lambda root: root.write_text("x"), "is no zip archive"),
        (lambda root: fill(root, ["0.png"]), "at least two"),
    ],
)
def test_unusable_folder(tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(InputError, match=message) as caught:
        folder_data(tmp_path / "x").image_set("train")
    assert str(tmp_path / "x") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x" / ".lightning_gen").exists()


def test_zip_cut_short(pets):
    archive = zipped(pets)
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a whole zip archive"):
        folder_data(archive).image_set("train")


def test_folder_set_holds_all_images_at_their_own_size(pets, tmp_path):
    images = folder_set(pets)
    assert (images.name, images.labels, len(images), images[:1].shape) == ("pets/all", None, 20, (1, 3, 8, 8))
    assert images[:1].numpy().tobytes() == noise(0, 8, 8, 3).transpose(2, 0, 1).tobytes()
    save(pets / "wide.png", noise(0, 8, 12, 3))
    with pytest.raises(InputError, match=r"differ in size \(8x8, 12x8"):
        folder_set(pets)
    assert folder_set(pets, 4)[:].shape == (21, 3, 4, 4)
    assert folder_set(fill(tmp_path / "grey", ["0.png", "1.png"], (5, 7)))[:].shape == (2, 1, 5, 7)


# -- damage


@pytest.fixture
def damaged(pets) -> Path:
    (pets / "cat" / "3.png").write_text("not an image")
    whole = (pets / "dog" / "4.png").read_bytes()
    (pets / "dog" / "4.png").write_bytes(whole[: len(whole) // 2])
    return pets


def test_damaged_image_is_named(damaged):
    for data in (folder_data(damaged), folder_data(zipped(damaged))):
        assert data.image_shape == (3, 8, 8)
        with pytest.raises(InputError, match=r"(cat.3|dog.4)\.png cannot be decoded.*on_corrupt") as caught:
            data.prepare_data()
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be decoded"):
        folder_set(damaged)


def test_damaged_images_can_be_skipped(damaged):
    for _ in range(2):  # decoded now, and recalled
        data = folder_data(damaged, on_corrupt="skip", holdout=0.01)
        with pytest.warns(UserWarning, match=r"2 of 19 images could not be decoded .*cat.3\.png"):
            train = data.image_set("train")
        assert data.skipped == 2
        assert len(train) == len(train.labels) == 17
        pixels_of = {noise(index, 8, 8, 3).transpose(2, 0, 1).tobytes(): index // 10 for index in range(20)}
        assert [pixels_of[bytes(image)] for image in train[:].numpy()] == train.labels.tolist()
    with pytest.raises(InputError, match=r"cat.3\.png"):
        folder_data(damaged, holdout=0.01).image_set("train")


def test_unreadable_files_count_as_damage(pets):
    (pets / "cat" / "link.png").symlink_to(pets / "nowhere")
    with pytest.raises(InputError, match=r"cat.link\.png cannot be decoded"):
        folder_set(pets)
    (pets / "cat" / "link.png").unlink()
    archive = zipped(pets)
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the first file is said to be encrypted
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"0\.png cannot be decoded .*encrypted"):
        folder_set(archive)


def test_nothing_but_damage(tmp_path):
    (tmp_path / "x").mkdir()
    for index in range(3):
        (tmp_path / "x" / f"{index}.jpg").write_text("not an image")
    with pytest.raises(InputError, match="none of the 2 images of x/train"):
        folder_data(tmp_path / "x", on_corrupt="skip").image_set("train")
    with pytest.raises(InputError, match="none of the 3 images"):
        folder_set(tmp_path / "x")


# -- formats


def rgb(image: Image.Image) -> tuple[int, ...]:
    return tuple(pixels(image, Framing(3, None))[:, 0, 0].tolist())


def test_formats():
    assert rgb(Image.new("RGBA", (2, 2), (10, 20, 30, 255))) == (10, 20, 30)
    assert rgb(Image.new("RGBA", (2, 2), (0, 0, 0, 0))) == (255, 255, 255)
    assert rgb(Image.new("RGBA", (2, 2), (255, 0, 0, 51))) == (255, 204, 204)
    assert rgb(Image.new("LA", (2, 2), (100, 255))) == (100, 100, 100)
    assert rgb(Image.new("L", (2, 2), 7)) == (7, 7, 7)
    assert rgb(Image.new("1", (2, 2), 1)) == (255, 255, 255)
    assert rgb(Image.new("CMYK", (2, 2), (0, 255, 255, 0))) == (255, 0, 0)
    assert rgb(Image.fromarray(np.full((2, 2), 65535, np.uint16))) == (255, 255, 255)
    assert rgb(Image.fromarray(np.full((2, 2), 257 * 77 + 100, np.uint16))) == (77, 77, 77)
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert rgb(palette) == (9, 8, 7)
    assert pixels(Image.new("RGB", (2, 2), (50, 50, 50)), Framing(1, None)).tolist() == [[[50, 50], [50, 50]]]


def test_colour_is_told_from_the_header():
    grey = Image.new("P", (1, 1))
    grey.putpalette([0, 0, 0, 9, 9, 9])
    colour = Image.new("P", (1, 1))
    colour.putpalette([0, 0, 0, 9, 8, 9])
    assert [is_colour(image) for image in (grey, colour)] == [False, True]
    assert [is_colour(Image.new(mode, (1, 1))) for mode in ("L", "LA", "1", "I;16", "RGB", "RGBA", "CMYK")] == (
        [False] * 4 + [True] * 3
    )


def test_channels_follow_the_source(tmp_path):
    root = tmp_path / "x"
    save(root / "0.png", noise(0, 8, 8))
    save(root / "1.png", np.full((8, 8), 40_000, np.uint16))
    save(root / "2.png", Image.new("LA", (8, 8), (100, 255)))
    assert folder_data(root).image_shape == (1, 8, 8)
    assert folder_data(root, channels=3).image_set("train")[:].shape == (2, 3, 8, 8)
    save(root / "3.gif", Image.new("RGB", (8, 8), "red"))
    save(root / "4.webp", Image.new("RGBA", (8, 8), "blue"))
    save(root / "5.JPEG", Image.new("CMYK", (8, 8)))
    data = folder_data(root)
    assert data.image_shape == (3, 8, 8)
    assert len(data.image_set("train")) == 5
    assert folder_data(root, channels=1).image_shape == (1, 8, 8)


def test_exif_orientation_is_applied(tmp_path):
    upright = np.zeros((8, 4, 3), np.uint8)
    upright[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: to be shown rotated by 90 degrees
    for name in ("0.png", "1.png"):
        save(tmp_path / "x" / name, np.rot90(upright).copy(), exif=exif)
    assert torch.from_numpy(upright.transpose(2, 0, 1)).equal(folder_set(tmp_path / "x")[:][0])


def test_framing():
    wide = np.zeros((8, 16), np.uint8)
    wide[:, 4:12] = 200
    assert (pixels(Image.fromarray(wide), Framing(1, 8)) == 200).all()  # the centred square
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert np.abs(pixels(Image.fromarray(stripes), Framing(1, 8)).astype(int) - 127).max() < 20  # antialiased
    small = pixels(Image.fromarray(noise(0, 4, 4)), Framing(1, 8, pad=True))
    assert small.sum() == noise(0, 4, 4).sum()
    assert np.array_equal(small[0, 2:6, 2:6], noise(0, 4, 4))


# -- the cache of decoded images


def test_key_follows_the_content(pets):
    def key(**options) -> str:
        return folder_data(pets, holdout=0.01, **options).image_set("train").key

    first = key()
    assert key() == first
    assert len({first, key(image_size=4), key(channels=1)}) == 3
    target, stat = pets / "cat" / "5.png", (pets / "cat" / "5.png").stat()
    os.utime(target)
    assert key() == first  # touched, not changed
    before = target.read_bytes()
    save(pets / "cat" / "5.png", 255 - noise(5, 8, 8, 3))
    target.write_bytes(target.read_bytes().ljust(len(before), b"\0")[: max(len(before), target.stat().st_size)])
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert target.stat().st_size == stat.st_size
    assert key() != first
    target.rename(pets / "dog" / "5b.png")
    assert len({first, key()}) == 2


def test_unchanged_files_are_not_read_again(pets, monkeypatch):
    monkeypatch.setattr("lightning_gen.data.sources.time.time", lambda: 2e10)  # long after
    key = folder_data(pets).image_set("train").key
    monkeypatch.setattr("lightning_gen.data.sources.Folder.read", lambda *_: pytest.fail("read again"))
    data = folder_data(pets)
    assert data.image_shape == (3, 8, 8)
    assert data.image_set("train").key == key


def test_killed_packing_leaves_the_old_array_whole(pets):
    old = folder_data(pets).image_set("train")
    content = old.path.read_bytes()
    save(pets / "cat" / "0.png", noise(99, 8, 8, 3))
    script = f"""
        import os, signal
        from lightning_gen.data import ImageData, packing
        decode, done = packing.pixels, []
        def killed(*arguments):
            done.append(1)
            return os.kill(os.getpid(), signal.SIGKILL) if len(done) > 10 else decode(*arguments)
        packing.pixels = killed
        ImageData("folder", {str(pets)!r}, image_size=8).prepare_data()
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False).returncode == -signal.SIGKILL
    store = old.path.parent
    assert old.path.read_bytes() == content
    assert len(list(store.glob(".*.tmp"))) == 1
    save(pets / "cat" / "1.png", noise(98, 8, 8, 3))  # what was begun is out of date by now
    assert len(list(store.glob("*train*.npy"))) == 1
    new = folder_data(pets).image_set("train")
    assert new.key != old.key
    assert len(new) == 18
    assert not list(store.glob(".*.tmp"))


def test_an_array_cut_short_is_made_again(pets):
    images = folder_data(pets).image_set("train")
    whole = images.path.read_bytes()
    for cut in (whole[:-1], b""):
        images.path.write_bytes(cut)
        assert folder_data(pets).image_set("train").path.read_bytes() == whole


def test_one_packs_while_others_wait(pets, monkeypatch):
    write, packed = packing._write, []
    monkeypatch.setattr(packing, "_write", lambda source, *rest: packed.append(source.name) or write(source, *rest))
    with ThreadPoolExecutor(4) as pool:
        keys = set(pool.map(lambda _: folder_data(pets).image_set("train").key, range(4)))
    assert len(keys) == 1
    assert sorted(packed) == ["pets/test", "pets/train"]


def test_data_that_cannot_be_written_to_is_packed_in_the_cache(pets, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "cache"))
    closed = tmp_path / "closed"
    closed.mkdir()
    pets = pets.rename(closed / "pets")
    closed.chmod(0o555)
    try:
        images = folder_data(pets).image_set("train")
    finally:
        closed.chmod(0o755)
    assert (tmp_path / "cache") in images.path.parents
    assert list(closed.iterdir()) == [pets]


def test_full_disk(pets, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: usage(10))
    with pytest.raises(InputError, match="GB left"):
        folder_data(pets).image_set("train")


# -- the named datasets


def write_idx(raw: Path, part: str, num: int) -> np.ndarray:
    raw.mkdir(parents=True, exist_ok=True)
    images = noise(num, num, 28, 28)
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
        (batches / name).write_bytes(pickle.dumps({"data": noise(index, 4, 3072), "labels": [0, 1, 2, 9]}))
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda _: True)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_load_meta", lambda _: None)
    data = ImageData("cifar10", str(tmp_path))
    assert (data.image_shape, data.num_classes) == ((3, 32, 32), 10)
    assert np.array_equal(data.image_set("train")[:4].numpy().reshape(4, -1), noise(0, 4, 3072))
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
def test_missing_dataset_says_what_to_put_where(tmp_path, name, files, monkeypatch):
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


@pytest.mark.parametrize("place", ["celeba/img_align_celeba", "img_align_celeba"])
@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("listed", [False, True])
def test_celeba(tmp_path, place, archive, listed):
    folder = fill(tmp_path / place, FACES, (218, 178, 3))
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


def test_celeba_is_cut_to_148(tmp_path):
    face = np.zeros((218, 178, 3), np.uint8)
    face[35:183, 15:163] = 255
    for name in FACES:
        save(tmp_path / "img_align_celeba" / name, face, quality=100)
    with pytest.warns(UserWarning, match="5 of CelebA's 202,599"):
        assert ImageData("celeba", str(tmp_path)).image_set("train")[:].min() > 250


def test_celeba_half_unpacked(tmp_path):
    fill(tmp_path / "celeba" / "img_align_celeba", FACES, (218, 178, 3))
    partition = tmp_path / "celeba" / "list_eval_partition.txt"
    partition.write_text("000001.jpg 0\n000009.jpg 0\n000010.jpg 1\n")
    with pytest.raises(InputError, match=r"lacks 2 of the images .* 000009\.jpg"):
        ImageData("celeba", str(tmp_path)).prepare_data()
    partition.write_text("a list of other things\n")
    with pytest.raises(InputError, match="no partition list"):
        ImageData("celeba", str(tmp_path)).prepare_data()
    partition.unlink()
    (tmp_path / "celeba" / "img_align_celeba" / FACES[-1]).unlink()
    with pytest.raises(InputError, match="no test images"):
        ImageData("celeba", str(tmp_path)).prepare_data()
