"""Inputs that are computed from images: their values, partners, halves, and what is refused."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import Trainer
from scipy import ndimage

from lightning_gen.cli import main
from lightning_gen.data import ImageData
from lightning_gen.data.inputs import KINDS, find_kind
from lightning_gen.errors import InputError
from lightning_gen.images import to_float, to_uint8
from lightning_gen.resize import bicubic_downscale
from lightning_gen.types import Batch, ImageSet, PairSource
from tests.image_files import folder_data, random_pixels, save_image, write_images

SPLITS = ("train", "val", "test")


@pytest.fixture
def digits(tmp_path):
    def make(inputs="inverted", **options) -> ImageData:
        return ImageData(root=str(tmp_path), **{"batch_size": 300, "image_size": 8, "inputs": inputs, **options})

    return make


def batches(data: ImageData, loader=None) -> list[Batch]:
    return [data.on_after_batch_transfer(batch, 0) for batch in loader or data.train_dataloader()]


def stored(*shape: int) -> torch.Tensor:
    return torch.from_numpy(random_pixels(0, *shape))


def derived(name: str, images: torch.Tensor, scale: int = 1) -> np.ndarray:
    return KINDS[name].derive_stored(images, scale).numpy()


# -- the functions


def test_grey_is_pillows_luma():
    images = stored(2, 3, 8, 8)
    lumas = [np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L")) for image in images]
    difference = derived("grey", images)[:, 0].astype(int) - np.stack(lumas)
    assert np.abs(difference).max() <= 1  # Pillow rounds a fixed-point sum
    assert np.array_equal(derived("grey", images[:, :1]), images[:, :1])


def test_edges_are_the_morphological_gradient():
    images = torch.from_numpy(ndimage.gaussian_filter(random_pixels(1, 3, 16, 16).astype(float), (0, 2, 2))[:, None])
    images = ((images - images.mean()) * 10 + 127).clamp(0, 255).to(torch.uint8)
    gradients = [ndimage.morphological_gradient((image[0].numpy() > 127).astype(int), (3, 3)) for image in images]
    outlines = derived("edges", images)
    assert np.array_equal(outlines[:, 0] == 255, np.stack(gradients))
    assert set(np.unique(outlines)) == {0, 255}
    assert derived("edges", stored(1, 3, 8, 8)).shape == (1, 1, 8, 8)


def test_inverted_is_the_negative():
    images = stored(2, 3, 8, 8)
    assert np.array_equal(derived("inverted", images), 255 - images.numpy())


@pytest.mark.parametrize(("height", "width"), [(8, 12), (9, 7)])
def test_masked_is_grey_in_the_middle_alone(height, width):
    images = torch.zeros(1, 1, height, width, dtype=torch.uint8)
    hole = derived("masked", images)[0, 0]
    rows, columns = np.nonzero(hole)
    assert set(hole[hole > 0]) == {128}
    assert len(rows) == (height // 2) * (width // 2)
    for positions, size in ((rows, height), (columns, width)):
        assert abs(positions.min() - (size - 1 - positions.max())) <= 1


def test_dilated_is_the_maximum_of_nine_pixels():
    image = stored(1, 1, 9, 9)
    assert np.array_equal(derived("dilated", image)[0, 0], ndimage.maximum_filter(image[0, 0].numpy(), 3))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_rounded_and_clipped_to_8_bits(scale):
    image = torch.zeros(1, 1, 24, 24, dtype=torch.uint8)
    image[..., :12] = 255  # an edge, at which a cubic kernel overshoots
    small = bicubic_downscale(to_float(image), scale)
    assert small.abs().max() > 1
    expected = np.rint((small.numpy().clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    assert np.array_equal(derived("bicubic", image, scale), expected)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.function])
def test_inputs_are_of_8_bits_and_each_depends_on_its_image(name):
    kind = KINDS[name]
    scale = 2 if kind.scaled else 1
    images = to_float(stored(3, 3, 8, 8))
    inputs = kind.derive(images, scale)
    assert inputs.shape == (3, kind.channels or 3, 8 // scale, 8 // scale)
    assert to_float(to_uint8(inputs)).equal(inputs)
    assert kind.derive(images[1:2], scale).equal(inputs[1:2])


# -- the data module


@pytest.mark.parametrize("name", KINDS)
def test_training_and_scoring_have_the_same_inputs(digits, name):
    data = digits(name, scale=2 if KINDS[name].scaled else None, eval_batch_size=100)
    assert isinstance(data, PairSource)
    served = batches(data, data.val_dataloader())
    pairs = data.pair_set("val")
    assert isinstance(pairs.inputs, ImageSet)
    assert pairs.paired
    assert to_uint8(torch.cat([batch.inputs for batch in served])).equal(pairs.inputs[:])
    assert to_uint8(torch.cat([batch.images for batch in served])).equal(pairs.images[:])
    assert pairs.images[:].equal(data.image_set("val")[:])
    assert tuple(pairs.inputs[:1].shape[1:]) == data.input_shape
    assert np.array_equal(pairs.inputs.labels, pairs.images.labels)
    assert pickle.loads(pickle.dumps(pairs)).inputs[:2].equal(pairs.inputs[:2])


def test_inputs_are_computed_after_the_flip(digits):
    for batch in batches(digits(flip=True)):
        assert to_uint8(batch.inputs).equal(255 - to_uint8(batch.images))


def test_direction_exchanges_inputs_and_images(digits):
    data, reverse = digits("bicubic", scale=2), digits("dilated", direction="BtoA")
    assert (data.input_shape, data.image_shape) == ((1, 4, 4), (1, 8, 8))
    plain = digits(None)
    for served, dataset in zip(batches(reverse), batches(plain), strict=True):
        assert served.inputs.equal(dataset.images)
        assert served.images.equal(KINDS["dilated"].derive(dataset.images))
        assert served.labels.equal(dataset.labels)
    pairs = reverse.pair_set("test")
    assert pairs.inputs.key == plain.image_set("test").key
    assert pairs.images.key == reverse.image_set("test").key != pairs.inputs.key


def test_a_direction_of_other_channels(tmp_path):
    root = write_images(tmp_path / "photos", [f"{i}.png" for i in range(4)])
    data, reverse = (folder_data(root, inputs="grey", direction=direction) for direction in ("AtoB", "BtoA"))
    assert (data.input_shape, data.image_shape) == ((1, 8, 8), (3, 8, 8))
    assert (reverse.input_shape, reverse.image_shape) == ((3, 8, 8), (1, 8, 8))


def test_keys_differ_by_kind_and_scale(digits):
    sets = [digits("bicubic", scale=2), digits("bicubic", scale=4), digits("inverted"), digits("dilated")]
    assert len({data.pair_set("test").inputs.key for data in sets}) == 4
    assert len({data.pair_set("test").images.key for data in sets}) == 1


def test_data_without_inputs_has_no_pairs(digits):
    data = digits(None)
    assert (data.input_shape, data.paired, data.pair_set("test")) == (None, False, None)
    assert batches(data)[0].inputs is None


def test_inputs_do_not_change_the_images(digits):
    for one, other in zip(batches(digits("edges", flip=True)), batches(digits(None, flip=True)), strict=True):
        assert one.images.equal(other.images)


def test_the_trainers_precision_applies_to_inputs(digits):
    data = digits()
    data.trainer = Trainer(accelerator="cpu", precision="bf16-true", logger=False, enable_checkpointing=False)
    [batch, *_] = batches(data)
    assert batch.images.dtype == batch.inputs.dtype == torch.bfloat16


# -- without partners


def test_halves_are_disjoint_fixed_and_complete(tmp_path):
    root = write_images(tmp_path / "photos", [f"train/{i}.png" for i in range(9)] + ["val/0.png"])
    halves = [folder_data(root, inputs="inverted", paired=False, seed=seed).pair_set("train") for seed in (0, 1)]
    assert halves[0].images.key == halves[1].images.key
    assert halves[0].inputs.key == halves[1].inputs.key
    images, inputs = (sorted(map(bytes, part[:].numpy())) for part in (halves[0].images, halves[0].inputs))
    partners = sorted(map(bytes, 255 - halves[0].images[:].numpy()))
    assert (len(images), len(inputs), halves[0].paired) == (5, 4, False)
    assert not set(partners) & set(inputs)
    everything = folder_data(root, inputs="inverted").pair_set("train").inputs[:].numpy()
    assert set(inputs) | set(partners) == set(map(bytes, everything))


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_unpaired_batches_come_from_the_two_halves(digits, direction):
    data = digits(paired=False, direction=direction, drop_last=False, flip=True)
    assert not data.paired
    served, pairs = batches(data), data.pair_set("train")
    assert not pairs.paired
    for name, half in (("images", pairs.images), ("inputs", pairs.inputs)):
        images = half[:]
        known = set(map(bytes, images.numpy())) | set(map(bytes, images.flip(-1).numpy()))
        assert all(set(map(bytes, to_uint8(getattr(batch, name)).numpy())) <= known for batch in served)
    assert sum(len(batch.images) for batch in served) == sum(len(batch.inputs) for batch in served) == 719


def test_unpaired_data_has_the_truth_in_val_and_test(digits):
    data = digits(paired=False)
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        pairs = data.pair_set(split)
        assert pairs.paired
        assert len(pairs.images) == 360
        assert pairs.inputs[:].equal(255 - pairs.images[:])
        served = batches(data, loader)
        assert all(to_uint8(batch.inputs).equal(255 - to_uint8(batch.images)) for batch in served)


def orders(data: ImageData, epoch: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The served images and inputs of an epoch, as rows."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    served = batches(data, loader)
    return torch.cat([batch.images for batch in served]), torch.cat([batch.inputs for batch in served])


def test_the_order_of_inputs_is_its_own_and_a_function_of_seed_and_epoch(digits):
    options = {"paired": False, "batch_size": 100, "flip": True}
    images, inputs = orders(digits(**options))
    again = orders(digits(**options))
    assert images.equal(again[0])
    assert inputs.equal(again[1])
    for other in (orders(digits(**options), epoch=1), orders(digits(**options, seed=1))):
        assert not inputs.equal(other[1])
    loader = digits(**options).train_dataloader()
    assert not loader.sampler.permutation()[:700].equal(loader.sampler.input_permutation(718)[:700])
    flips = [torch.cat([part.flips for part in parts]) for parts in zip(*[(b, b.inputs) for b in loader], strict=True)]
    assert not flips[0].equal(flips[1])


def test_fewer_inputs_than_images_are_served_again(digits):
    order = digits().train_dataloader().sampler
    indices = order.input_permutation(500)
    assert len(indices) == 1437
    assert [sorted(indices[start : start + 500].tolist()) for start in (0, 500)] == [list(range(500))] * 2
    assert not indices[:500].equal(indices[500:1000])


def test_an_unpaired_order_resumes(digits):
    def make():
        return digits(paired=False, batch_size=100, flip=True)

    whole = batches(make())
    loader = make().train_dataloader()
    iterator = iter(loader)
    for _ in range(3):
        next(iterator)
    data = make()
    resumed = data.train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    for batch, expected in zip(batches(data, resumed), whole[3:], strict=True):
        assert batch.images.equal(expected.images)
        assert batch.inputs.equal(expected.inputs)


# -- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "bicubic"}, "set data.scale to 2"),
        ({"inputs": "bicubic", "scale": 1}, "data.scale is 1; set data.scale to 2"),
        ({"inputs": "bicubic", "scale": 3}, "data.image_size is 8, no multiple of data.scale 3; set it to 6"),
        ({"inputs": "bicubic", "scale": 2, "direction": "BtoA"}, "use AtoB"),
        ({"inputs": "grey", "scale": 2}, "leave out data.scale"),
        ({"inputs": None, "scale": 2}, "data.scale is 2, and the data has no inputs"),
        ({"inputs": None, "paired": False}, "data.paired is False, and the data has no inputs"),
        ({"inputs": None, "direction": "BtoA"}, "data.direction is BtoA, and the data has no inputs"),
        ({"inputs": "grey", "paired": False, "binarize": "dynamic"}, "set data.binarize to static"),
        ({"inputs": "grey", "name": "stacked_mnist"}, "use mnist"),
    ],
)
def test_contradictory_options_are_refused(digits, options, message):
    with pytest.raises(InputError, match=message) as caught:
        digits(**options)
    assert "\n" not in str(caught.value)


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=rf"data.inputs is 'sketch'; it must be one of {', '.join(KINDS)}$"):
        find_kind("sketch")


def test_one_image_has_no_halves(tmp_path):
    save_image(tmp_path / "one" / "train" / "0.png", random_pixels(0, 8, 8))
    save_image(tmp_path / "one" / "val" / "0.png", random_pixels(1, 8, 8))
    with pytest.raises(InputError, match="one/train has one image"):
        folder_data(tmp_path / "one", inputs="inverted", paired=False).image_set("train")


TRANSLATOR, UNPAIRED = (f"--model=tests.toy_translator.Toy{name}Translator" for name in ("", "Unpaired"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([TRANSLATOR], "ToyTranslator makes images from images, and the data has no inputs; set --data.inputs"),
        (
            ["--model=Autoencoder", "--data.inputs=grey"],
            "Autoencoder makes no images from images, and the data has inputs; leave out",
        ),
        ([TRANSLATOR, "--data.inputs=grey", "--data.paired=false"], "set --data.paired to true"),
        ([TRANSLATOR, "--data.inputs=sketch"], "sketch"),
    ],
)
def test_a_model_and_data_that_do_not_fit_are_refused_in_one_line(tmp_path, capsys, options, message):
    assert main(["fit", f"--runs={tmp_path}", f"--data.root={tmp_path}", *options]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line


@pytest.mark.parametrize("model", [[TRANSLATOR], [UNPAIRED, "--data.paired=false"]])
def test_a_translator_is_trained_from_the_command_line(tmp_path, model):
    options = [f"--runs={tmp_path}", f"--data.root={tmp_path}", "--data.inputs=bicubic", "--data.scale=2"]
    trainer = ["--trainer.fast_dev_run=true", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    assert main(["fit", *options, *model, *trainer]) == 0
