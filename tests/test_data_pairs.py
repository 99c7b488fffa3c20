"""Images of two domains in files: layouts, partners, orders, crops and tiles."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_gen.cli import main
from lightning_gen.data import ImageData
from lightning_gen.data.crops import Crop, centre_crop, crop_at, flip_and_rotate
from lightning_gen.data.tiles import tile_positions
from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from lightning_gen.types import Batch
from tests.image_files import random_pixels, save_image, write_images, write_zip

NUM = {"train": 6, "test": 3}


def photo(split: str, index: int, size: int = 8) -> np.ndarray:
    return random_pixels(1000 * len(split) + index, size, size, 3)


def write_domains(root: Path, size: int = 8, scale: int = 1) -> Path:
    """Write trainA ... testB: A are the inverted photographs of B, ``scale`` times smaller, in grey."""
    for split, num in NUM.items():
        for index in range(num):
            image = photo(split, index, size)
            save_image(root / f"{split}B" / f"x{index}.png", image)
            save_image(root / f"{split}A" / f"x{index}.bmp", 255 - image[::scale, ::scale, 0])
    return root


def write_side_by_side(root: Path) -> Path:
    for split, num in NUM.items():
        for index in range(num):
            image = photo(split, index)
            save_image(root / split / f"{index}.png", np.concatenate([255 - image, image], axis=1))
    return root


def write_a_and_b(root: Path) -> Path:
    for split, num in NUM.items():
        for index in range(num):
            save_image(root / "A" / split / f"{index}.bmp", 255 - photo(split, index))
            save_image(root / "B" / split / f"{index}.png", photo(split, index))
    return root


def make(root: Path, name: str = "domains", image_size: int = 8, **options) -> ImageData:
    return ImageData(name, str(root), image_size=image_size, **{"batch_size": 3, **options})


def batches(data: ImageData, loader=None) -> list[Batch]:
    return [data.on_after_batch_transfer(batch, 0) for batch in loader or data.train_dataloader()]


def stored_pair(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    return to_uint8(batch.inputs), to_uint8(batch.images)


# -- layouts


@pytest.mark.parametrize("write", [write_side_by_side, write_a_and_b])
@pytest.mark.parametrize("place", ["folder", "zip", "below a common folder"])
def test_pairs(tmp_path, write, place):
    root = tmp_path / "facades"
    write(root / "facades" if place == "below a common folder" else root)
    data = make(write_zip(root) if place == "zip" else root, "pairs")
    assert (data.input_shape, data.image_shape, data.num_classes, data.paired) == ((3, 8, 8), (3, 8, 8), 0, True)
    for split, loader in (("train", data.train_dataloader()), ("val", data.val_dataloader())):
        pairs = data.pair_set(split)
        assert pairs.paired
        assert len(pairs.inputs) == len(pairs.images) == NUM["train" if split == "train" else "test"]
        assert pairs.inputs[:].equal(255 - pairs.images[:])
        for batch in batches(data, loader):
            inputs, images = stored_pair(batch)
            assert inputs.equal(255 - images)
    expected = {photo("test", index).transpose(2, 0, 1).tobytes() for index in range(NUM["test"])}
    assert set(map(bytes, data.image_set("test")[:].numpy())) == expected
    assert data.pair_set("val").images.key == data.pair_set("test").images.key
    assert pickle.loads(pickle.dumps(pairs)).inputs[:].equal(pairs.inputs[:])


@pytest.mark.parametrize("place", ["folder", "zip"])
def test_domains(tmp_path, place):
    root = write_domains(tmp_path / "horses")
    data = make(write_zip(root) if place == "zip" else root)
    assert (data.input_shape, data.image_shape, data.paired) == ((1, 8, 8), (3, 8, 8), False)
    assert data.image_set("train").name == "horses-B/train"
    assert not data.pair_set("test").paired
    reverse = make(root, direction="BtoA")
    assert (reverse.input_shape, reverse.image_shape) == ((3, 8, 8), (1, 8, 8))
    assert reverse.pair_set("test").images.key == data.pair_set("test").inputs.key


def test_partners_are_found_by_stem(tmp_path):
    data = make(write_domains(tmp_path / "x"), paired=True)
    pairs = data.pair_set("train")
    assert data.paired
    assert pairs.paired
    assert pairs.inputs[:].equal(255 - pairs.images[:][:, :1])


def test_val_folders_are_read(tmp_path):
    root = write_domains(tmp_path / "x")
    for domain in "AB":
        write_images(root / f"val{domain}", ["only.png"])
    data = make(root)
    assert [len(data.image_set(split)) for split in ("train", "val", "test")] == [6, 1, 3]


def test_computed_inputs_ignore_the_other_domain(tmp_path):
    data = make(write_domains(tmp_path / "x"), inputs="inverted")
    assert data.paired
    assert data.input_shape == (3, 8, 8)
    pairs = data.pair_set("test")
    assert pairs.inputs[:].equal(255 - pairs.images[:])
    assert pairs.images.key == make(tmp_path / "x").image_set("test").key


@pytest.mark.parametrize("name", ["pairs", "domains"])
def test_a_holdout_keeps_partners_together(tmp_path, name):
    write = write_a_and_b if name == "pairs" else write_domains
    data = make(write(tmp_path / "x"), name, val="holdout", holdout=0.4, paired=True)
    for split, num in (("train", 4), ("val", 2), ("test", 3)):
        pairs = data.pair_set(split)
        assert len(pairs.images) == num
        assert pairs.inputs[:][:, :1].equal(255 - pairs.images[:][:, :1])


def test_pairs_without_partners_are_two_halves(tmp_path):
    data = make(write_side_by_side(tmp_path / "x"), "pairs", paired=False, seed=1)
    pairs = data.pair_set("train")
    assert (pairs.paired, len(pairs.images), len(pairs.inputs)) == (False, 3, 3)
    partners = set(map(bytes, 255 - pairs.images[:].numpy()))
    assert not partners & set(map(bytes, pairs.inputs[:].numpy()))
    assert data.pair_set("test").paired


# -- orders and augmentation


def test_partners_share_flip_and_turn(tmp_path):
    data = make(write_domains(tmp_path / "x"), paired=True, flip=True, rotate=True, drop_last=False)
    originals = set(map(bytes, data.image_set("train")[:].numpy()))
    served = [stored_pair(batch) for batch in batches(data)]
    for inputs, images in served:
        assert inputs.equal(255 - images[:, :1])
    assert len({bytes(image) for _, images in served for image in images.numpy()} - originals) >= 2


@pytest.mark.parametrize(("flip", "rotate", "num"), [(True, False, 2), (False, True, 4), (True, True, 8)])
def test_flips_and_turns_are_those_of_the_square(tmp_path, flip, rotate, num):
    data = make(write_domains(tmp_path / "x"), inputs="grey", flip=flip, rotate=rotate)
    loader, views = data.train_dataloader(), set()
    for epoch in range(40):
        loader.sampler.set_epoch(epoch)
        views |= {bytes(image) for batch in batches(data, loader) for image in to_uint8(batch.images).numpy()}
    image = photo("train", 0).transpose(2, 0, 1)
    turned = [np.rot90(image, turn, (1, 2)) for turn in range(4)]
    square = {bytes(np.ascontiguousarray(view)) for one in turned for view in (one, one[..., ::-1])}
    assert len(views & square) == num


def test_domains_have_orders_flips_and_crops_of_their_own(tmp_path):
    options = {"flip": True, "load_size": 8, "drop_last": False}
    data = make(write_domains(tmp_path / "x"), image_size=6, **options)
    served = [stored_pair(batch) for batch in batches(data)]
    again = [stored_pair(batch) for batch in batches(make(tmp_path / "x", image_size=6, **options))]
    assert all(one[0].equal(two[0]) and one[1].equal(two[1]) for one, two in zip(served, again, strict=True))
    assert not any(inputs.equal(255 - images[:, :1]) for inputs, images in served)
    loader = data.train_dataloader()
    loader.sampler.set_epoch(1)
    later = [stored_pair(batch) for batch in batches(data, loader)]
    assert not any(one[0].equal(two[0]) for one, two in zip(served, later, strict=True))


def test_domains_of_unequal_length_serve_every_image(tmp_path):
    root = write_domains(tmp_path / "x")
    for index in (1, 2, 3, 4, 5):
        (root / "trainA" / f"x{index}.bmp").unlink()
    (root / "testA" / "x2.bmp").unlink()
    data = make(root, batch_size=2)
    served = batches(data)
    assert len({bytes(image) for batch in served for image in to_uint8(batch.images).numpy()}) == 6
    assert [len(batch.inputs) for batch in served] == [2, 2, 2]
    [batch] = batches(data, make(root, eval_batch_size=3).val_dataloader())
    assert to_uint8(batch.inputs).equal(data.pair_set("val").inputs[np.array([0, 1, 0])])


# -- crops


def test_crops_are_those_of_slicing():
    images = torch.from_numpy(random_pixels(0, 4, 3, 9, 9))
    offsets = torch.tensor([[0, 0], [4, 4], [1, 3], [2, 0]])
    crops = crop_at(images, offsets, 5)
    for image, crop, (top, left) in zip(images, crops, offsets.tolist(), strict=True):
        assert crop.equal(image[:, top : top + 5, left : left + 5])
    assert centre_crop(images, 5).equal(images[..., 2:7, 2:7])
    assert centre_crop(images[..., :8, :8], 4, unit=4).equal(images[..., :4, :4])


def test_random_crops_reach_every_position_evenly():
    offsets = Crop(6, seed=0, unit=2).random_offsets(9000, 10, seed=3)
    positions, counts = offsets.unique(dim=0, return_counts=True)
    assert positions.tolist() == [[row, column] for row in (0, 2, 4) for column in (0, 2, 4)]
    assert counts.min() > 900


def test_turns_are_counter_clockwise():
    image = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3)
    turned = flip_and_rotate(image.expand(4, 1, 3, 3), None, torch.arange(4))
    for turn in range(4):
        assert np.array_equal(turned[turn, 0], np.rot90(image[0, 0], turn))


@pytest.mark.parametrize("scale", [1, 2])
def test_partners_share_their_crops(tmp_path, scale):
    root = write_domains(tmp_path / "x", size=16, scale=scale)
    data = make(root, paired=True, load_size=16, scale=scale if scale > 1 else None, drop_last=False)
    assert data.input_shape == (1, 8 // scale, 8 // scale)
    loader, distinct = data.train_dataloader(), set()
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        for batch in batches(data, loader):
            inputs, images = stored_pair(batch)
            assert inputs.equal(255 - images[:, :1, ::scale, ::scale])
            distinct |= set(map(bytes, images.numpy()))
    assert len(distinct) > 12
    pairs = data.pair_set("test")
    assert pairs.inputs[:].equal(255 - pairs.images[:][:, :1, ::scale, ::scale])
    assert pairs.images[:].equal(make(root, image_size=16).image_set("test")[:][..., 4:12, 4:12])
    served = [stored_pair(batch) for batch in batches(data, data.test_dataloader())]
    assert torch.cat([images for _, images in served]).equal(pairs.images[:])
    assert torch.cat([inputs for inputs, _ in served]).equal(pairs.inputs[:])


def test_load_size_crops_data_without_inputs(tmp_path):
    whole = ImageData("digits", str(tmp_path), image_size=10)
    data = ImageData("digits", str(tmp_path), image_size=8, load_size=10, batch_size=100)
    assert data.image_shape == (1, 8, 8)
    centre = whole.image_set("test")[:][..., 1:9, 1:9]
    assert data.image_set("test")[:].equal(centre)
    assert data.image_set("test").key != whole.image_set("test").key
    assert np.array_equal(data.image_set("test").labels, whole.image_set("test").labels)
    windows = whole.image_set("train")[:].unfold(2, 8, 1).unfold(3, 8, 1)
    known = {bytes(window) for window in windows.reshape(-1, 64).numpy()}
    served = [bytes(image) for batch in batches(data) for image in to_uint8(batch.images).numpy()]
    assert len(served) == 1400
    assert set(served) <= known


# -- tiles


@pytest.mark.parametrize(("side", "tile"), [(481, 160), (321, 160), (160, 160), (161, 160), (1000, 96)])
@pytest.mark.parametrize("unit", [1, 2])
def test_tiles_cover_a_side_and_overlap(side, tile, unit):
    positions = tile_positions(side, tile, unit)
    assert positions[0] == 0
    assert positions[-1] == (side - tile) // unit * unit
    assert all(position % unit == 0 for position in positions)
    steps = np.diff(positions)
    assert len(steps) == 0 or (steps.max() <= 0.75 * tile + unit and steps.min() > 0)


@pytest.fixture
def photographs(tmp_path) -> Path:
    root = tmp_path / "photographs"
    for index, (height, width) in enumerate([(30, 20), (20, 30), (16, 16)]):
        for split in ("train", "val"):
            save_image(root / split / f"{index}.png", random_pixels(index, height, width, 3))
    return root


def test_tiles_are_parts_of_the_images(photographs):
    data = make(photographs, "folder", image_size=16, tile=16, inputs="bicubic", scale=2)
    tiles = data.image_set("train")
    assert data.skipped == 0
    assert (tiles[:].shape[1:], data.input_shape) == ((3, 16, 16), (3, 8, 8))
    windows, covered = {}, [np.zeros(shape, bool) for shape in ((30, 20), (20, 30), (16, 16))]
    for index, mask in enumerate(covered):
        image = random_pixels(index, *mask.shape, 3)
        for top in range(mask.shape[0] - 15):
            for left in range(mask.shape[1] - 15):
                window = image[top : top + 16, left : left + 16].transpose(2, 0, 1)
                windows[window.tobytes()] = (index, top, left)
    for tile in tiles[:].numpy():
        index, top, left = windows[tile.tobytes()]
        covered[index][top : top + 16, left : left + 16] = True
    assert all(mask.all() for mask in covered)


def test_crops_of_tiles(photographs):
    tiles = make(photographs, "folder", image_size=16, tile=16).image_set("val")[:]
    data = make(photographs, "folder", image_size=8, tile=16, inputs="bicubic", scale=2)
    assert data.image_set("val")[:].equal(tiles[..., 4:12, 4:12])
    assert data.image_shape == (3, 8, 8)
    assert all(batch.images.shape == (3, 3, 8, 8) for batch in batches(data))


def test_tiles_of_partners_correspond(tmp_path):
    root = tmp_path / "x"
    for split in ("train", "test"):
        for index in range(2):
            image = random_pixels(index, 44, 58, 3)
            save_image(root / f"{split}B" / f"{index}.png", image)
            save_image(root / f"{split}A" / f"{index}.png", 255 - image[::2, ::2])
    data = make(root, paired=True, scale=2, image_size=12, tile=16, drop_last=False)
    for inputs, images in [*map(stored_pair, batches(data)), [part[:] for part in data.pair_set("test")[:2]]]:
        assert inputs.equal(255 - images[..., ::2, ::2])


# -- what is refused


def remove(name: str):
    def change(root: Path) -> None:
        (root / name).unlink()

    return change


def resize(size: tuple[int, int]):
    def change(root: Path) -> None:
        save_image(root / "trainB" / "x1.png", random_pixels(0, *size, 3))

    return change


def empty(folder: str):
    def change(root: Path) -> None:
        for path in (root / folder).iterdir():
            path.unlink()

    return change


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (remove("trainB/x4.png"), {"paired": True}, r"trainA/x4.bmp has no partner in domain B of train"),
        (remove("testA/x1.bmp"), {"paired": True}, r"testB/x1.png has no partner in domain A of test"),
        (resize((16, 16)), {"paired": True}, r"trainA/x1.bmp is 8x8 and its partner .* is 16x16.*set data.scale to 2"),
        (resize((16, 12)), {"paired": True}, r"is 12x16, not 1 times as large; resize them"),
        (empty("trainA"), {}, r"lacks images of a domain or split; it must contain folders trainA, trainB"),
        (empty("testB"), {}, r"lacks images of a domain or split"),
        (lambda root: None, {"name": "pairs"}, r"must contain folders train and val or test of side-by-side"),
    ],
)
def test_damaged_domains_are_refused(tmp_path, change, options, message):
    root = write_domains(tmp_path / "x")
    change(root)
    data = make(root, **options)
    with pytest.raises(InputError, match=message) as caught:
        data.pair_set("train")
    assert "\n" not in str(caught.value)


def test_an_odd_width_is_no_pair(tmp_path):
    root = write_side_by_side(tmp_path / "x")
    save_image(root / "train" / "1.png", random_pixels(0, 8, 15, 3))
    with pytest.raises(InputError, match=r"1.png cannot be decoded \(its width 15 is odd"):
        make(root, "pairs").image_set("train")


def test_an_image_smaller_than_a_tile_is_named(photographs):
    with pytest.raises(InputError, match=r"0.png is 20x30, smaller than data.tile 24; set data.tile to 20 or less"):
        make(photographs, "folder", tile=24).image_set("train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"load_size": 6}, "data.load_size is 6, less than image_size 8"),
        ({"tile": 6}, "data.tile is 6, less than image_size 8"),
        ({"tile": 16, "load_size": 16}, "set one of them"),
        ({"scale": 4, "load_size": 10}, "data.load_size is 10, no multiple of data.scale 4"),
        ({"scale": 2, "direction": "BtoA"}, "images are made larger"),
        ({"binarize": "static"}, "leave out binarize"),
        ({"paired": True, "on_corrupt": "skip"}, "set data.on_corrupt to raise"),
        ({"name": "stacked_mnist", "load_size": 40}, "data.load_size does not apply to stacked_mnist"),
    ],
)
def test_contradictory_options_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        make(tmp_path, **options)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("Autoencoder", [], "Autoencoder makes no images from images"),
        ("tests.toy_translator.ToyTranslator", [], "set --data.paired to true"),
        ("tests.toy_translator.ToyTranslator", ["--data.scale=2", "--data.paired=true"], "set --data.scale to 1"),
    ],
)
def test_the_command_line_refuses_domains_that_do_not_fit(tmp_path, capsys, model, options, message):
    root = write_domains(tmp_path / "x")
    data = ["--data.name=domains", f"--data.root={root}", "--data.image_size=8", "--data.batch_size=2"]
    trainer = ["--trainer.fast_dev_run=true", "--trainer.accelerator=cpu"]
    assert main(["fit", f"--model={model}", f"--runs={tmp_path}", *data, *options, *trainer]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line
