"""The grid of translations: its rows, its noise, and when there is none."""

import pytest
import torch

from lightning_gen.callbacks.translations import TranslationGrid
from lightning_gen.errors import InputError
from lightning_gen.images import interleave_rows, match_shapes
from lightning_gen.noise import randn
from lightning_gen.types import PairSet
from tests.grids import small_grid
from tests.test_callbacks import Data, Plain, names, stub

SIZE, NUM = 8, 10
TILE = SIZE + 1  # make_grid's border of one pixel


class Stored:
    """Random images as an image set."""

    name, key, labels = "random/val", "0", None

    def __init__(self, shape: tuple[int, int, int], seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.randint(0, 256, (NUM, *shape), dtype=torch.uint8, generator=generator)

    def __len__(self):
        return NUM

    def __getitem__(self, index):
        return self.images[index]


class PairData(Data):
    """Grey inputs of 4 x 4 pixels, and RGB images of 8 x 8."""

    def __init__(self, paired: bool = True):
        super().__init__()
        self.inputs, self.images, self.paired = Stored((1, 4, 4)), Stored((3, SIZE, SIZE), 1), paired

    def pair_set(self, split):
        assert split == "val"
        return PairSet(self.inputs, self.images, self.paired)


class OneWay(Plain):
    """Doubles the size and repeats the grey channel."""

    input_shape, image_shape, needs_pairs, context = (1, 4, 4), (3, SIZE, SIZE), True, 0

    def translate(self, inputs, *, generator=None):
        assert not self.training
        assert not torch.is_grad_enabled()
        return inputs.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat(1, 3, 1, 1)


class TwoWay(OneWay):
    def translate_back(self, images, *, generator=None):
        return -images[:, :1, ::2, ::2]


class Noisy(OneWay):
    def translate(self, inputs, *, generator=None):
        return randn(len(inputs), 3, SIZE, SIZE, generator=generator)


def picture_of(folder, model, num=16, paired=True, seed=0) -> torch.Tensor:
    callback = TranslationGrid(num=num, seed=seed)
    callback.on_train_epoch_end(stub(folder, datamodule=PairData(paired)), model)
    return small_grid(callback.last_path, min(num, 8))


def row(picture: torch.Tensor, index: int, num: int = 8) -> torch.Tensor:
    """The first images of a row of the grid."""
    top = 1 + index * TILE
    return torch.stack([picture[:, top : top + SIZE, 1 + i * TILE : (i + 1) * TILE] for i in range(num)])


def enlarged(images: torch.Tensor) -> torch.Tensor:
    return images.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(-1, 3, -1, -1)


def test_the_rows_are_inputs_translations_and_targets(tmp_path):
    picture, data = picture_of(tmp_path, OneWay()), PairData()
    assert picture.shape == (3, 6 * TILE + 1, 8 * TILE + 1)
    for index in (0, 1):  # OneWay's translations are equal to the enlarged inputs
        assert row(picture, index).equal(enlarged(data.inputs[:8]))
        assert row(picture, 3 + index, 2).equal(enlarged(data.inputs[8:]))
    assert row(picture, 2).equal(data.images[:8])
    assert row(picture, 5, 2).equal(data.images[8:])
    assert (row(picture, 5)[2:] == 128).all()  # grey where there is no image


def test_a_translator_of_both_ways_has_a_row_of_the_way_back(tmp_path):
    picture, data = picture_of(tmp_path, TwoWay(), num=8), PairData()
    assert picture.shape == (3, 4 * TILE + 1, 8 * TILE + 1)
    assert row(picture, 2).equal(255 - enlarged(data.inputs[:8]))
    assert row(picture, 3).equal(data.images[:8])


def test_unpaired_images_are_no_targets(tmp_path):
    assert picture_of(tmp_path, OneWay(), num=8, paired=False).shape == (3, 2 * TILE + 1, 8 * TILE + 1)
    assert picture_of(tmp_path, TwoWay(), num=4, paired=False).shape == (3, 3 * TILE + 1, 4 * TILE + 1)


def test_the_noise_of_each_translation_is_fixed(tmp_path):
    first, again, fewer = (picture_of(tmp_path, Noisy(), num) for num in (8, 8, 4))
    assert first.equal(again)
    assert row(first, 1, 4).equal(row(fewer, 1, 4))
    assert not first.equal(picture_of(tmp_path, Noisy(), 8, seed=1))


@pytest.mark.parametrize("model", [Plain(), OneWay()])
def test_no_picture_without_the_capability_or_inputs(tmp_path, model):
    sources = [Data(), None] if isinstance(model, OneWay) else [PairData()]
    without_inputs = PairData()
    without_inputs.pair_set = lambda split: None
    for source in (*sources, without_inputs):
        callback = TranslationGrid()
        callback.on_train_epoch_end(stub(tmp_path, datamodule=source), model)
        assert callback.last_path is None
    assert names(tmp_path) == []


def test_a_number_out_of_range_is_named():
    with pytest.raises(InputError, match=r"translations\.num is 0"):
        TranslationGrid(num=0)


def test_rows_of_several_batches_are_interleaved():
    batches = [torch.arange(start, start + 3, dtype=torch.uint8)[:, None, None, None] for start in (0, 10, 20)]
    assert interleave_rows(batches, 2).flatten().tolist() == [0, 1, 10, 11, 20, 21, 2, 128, 12, 128, 22, 128]


def test_images_of_one_shape_stay_as_they_are():
    batches = [Stored((1, 4, 6))[:2], Stored((1, 4, 6), 1)[:2]]
    assert all(a.equal(b) for a, b in zip(match_shapes(batches), batches, strict=True))
