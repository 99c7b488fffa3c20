"""``inspect translate``: the rows of its picture, its numbers against their definitions, and its errors."""

import json

import pytest
import torch
from torch import nn
from torchmetrics.functional.image import peak_signal_noise_ratio

from lightning_gen.cli import main
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.inspection import Subject
from lightning_gen.inspection.translate import translate
from lightning_gen.models.autoencoders.autoencoder import Autoencoder
from lightning_gen.models.translation.sr3 import SR3
from lightning_gen.noise import randn
from lightning_gen.types import PairSet, SamplingOptions
from tests.helpers import trainer
from tests.test_translation_grid import Stored, enlarged

NUM, SIDE, GAP = 5, 48, 8  # an enlarged image and the gap behind it
TINY = {"width": 4, "multipliers": (1, 2), "blocks": 1, "attention": ()}


class PairData(ImageData):
    """Digits, with grey inputs of 8 x 8 pixels and RGB images of 16 x 16."""

    def __init__(self, paired: bool = True) -> None:
        super().__init__("digits")
        self.given, self.made, self.are_paired = Stored((1, 8, 8)), Stored((3, 16, 16), 1), paired

    def pair_set(self, split):
        assert split == "test"
        return PairSet(self.given, self.made, self.are_paired)


class OneWay(nn.Module):
    """Doubles the size and repeats the grey channel."""

    device = torch.device("cpu")
    input_shape, image_shape, needs_pairs, context = (1, 8, 8), (3, 16, 16), True, 0

    def translate(self, inputs, *, generator=None):
        return inputs.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat(1, 3, 1, 1)


class TwoWay(OneWay):
    def translate_back(self, images, *, generator=None):
        return images[:, :1, ::2, ::2] * 0.5


class Noisy(OneWay):
    """N(0, 0.2^2) for each pixel."""

    def translate(self, inputs, *, generator=None):
        return 0.2 * randn(len(inputs), 3, 16, 16, generator=generator)


def row(picture: torch.Tensor, index: int, columns: int, rows: int) -> torch.Tensor:
    """The images of a row of the table, at their own size."""
    height, width = picture.shape[1:]
    top = height - (rows - index) * (SIDE + GAP)
    lefts = [width - (columns - i) * (SIDE + GAP) for i in range(columns)]
    return torch.stack([picture[:, top : top + SIDE : 3, left : left + SIDE : 3] for left in lefts])


def reference_psnr(images: torch.Tensor, targets: torch.Tensor) -> list[float]:
    pairs = zip(images.double(), targets.double(), strict=True)
    return [peak_signal_noise_ratio(image, target, data_range=255.0).item() for image, target in pairs]


def test_pairs_have_a_row_of_targets_and_the_psnr_of_each_image():
    data = PairData()
    found = translate(Subject(OneWay(), data), num=NUM)
    translations = enlarged(data.given[:NUM])
    assert row(found.picture, 0, NUM, 3).equal(translations)
    assert row(found.picture, 1, NUM, 3).equal(translations)
    assert row(found.picture, 2, NUM, 3).equal(data.made[:NUM])
    expected = reference_psnr(translations, data.made[:NUM])
    assert found.numbers["psnr"] == pytest.approx(expected)
    assert found.numbers.keys() == {"num", "split", "draws", "back", "paired", "psnr"}
    assert f"PSNR {sum(expected) / NUM:.2f} dB" in found.summary[-1]


def test_unpaired_images_have_no_targets_and_a_translator_of_both_ways_the_way_back():
    data = PairData(paired=False)
    found = translate(Subject(TwoWay(), data), num=3)
    back = row(found.picture, 2, 3, 3)[:, :1, ::2, ::2]
    half = (data.given[:3].float() - 127.5) / 2 + 127.5
    assert (back.float() - half).abs().max() <= 0.5 + 1e-3
    assert found.numbers["psnr_cycle"] == pytest.approx(reference_psnr(back, data.given[:3]))
    assert "psnr" not in found.numbers


def test_the_other_direction_translates_the_images_of_the_second_domain():
    data = PairData()
    found = translate(Subject(TwoWay(), data), num=3, back=True)
    assert row(found.picture, 0, 3, 4).equal(data.made[:3])
    assert row(found.picture, 3, 3, 4).equal(enlarged(data.given[:3]))
    translations = row(found.picture, 1, 3, 4)[:, :1, ::2, ::2]
    assert found.numbers["psnr"] == pytest.approx(reference_psnr(translations, data.given[:3]))


def test_several_draws_have_the_standard_deviation_of_a_pixel():
    found = translate(Subject(Noisy(), PairData()), num=4, draws=40)
    assert found.numbers["std"] == pytest.approx([0.1] * 4, rel=0.05)  # of a pixel in [0, 1]
    assert [len(draw) for draw in found.numbers["psnr"]] == [4] * 40
    deviations = row(found.picture, 41, 4, 43)
    assert deviations.max() == 255
    assert deviations.float().std() > 0


def test_draws_depend_on_the_seed_and_not_on_the_batches():
    data = PairData()
    found, again, other = (
        translate(Subject(Noisy(), data, seed=seed, batch_size=size), num=NUM, draws=2)
        for seed, size in ((0, 256), (0, 2), (1, 256))
    )
    assert found.picture.equal(again.picture)
    assert not found.picture.equal(other.picture)
    assert not row(found.picture, 1, NUM, 5).equal(row(found.picture, 2, NUM, 5))


def test_sr3_draws_with_its_options_of_sampling():
    model = SR3(image_shape=(3, 16, 16), input_shape=(1, 8, 8), **TINY)
    model.sampling = SamplingOptions(sampler="ancestral", steps=2)
    found = translate(Subject(model, PairData()), num=2, draws=3)
    assert "ancestral, 2 steps" in found.summary[0]
    assert min(found.numbers["std"]) > 0


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (Autoencoder((1, 16, 16), width=4), {}, "Autoencoder translates no images"),
        (OneWay(), {"back": True}, "OneWay translates in one direction; leave out --back"),
        (OneWay(), {"num": 0}, "--num is 0"),
        (OneWay(), {"draws": 0}, "--draws is 0"),
    ],
)
def test_bad_input_is_one_clear_line(model, options, words):
    with pytest.raises(InputError, match=words):
        translate(Subject(model, PairData()), **options)


def test_data_without_inputs_is_refused():
    with pytest.raises(InputError, match=r"has no inputs to translate; set data\.inputs"):
        translate(Subject(OneWay(), ImageData("digits")))


def test_the_command_leaves_a_picture_and_numbers(tmp_path, capsys):
    data = ImageData("digits", root=str(tmp_path / "data"), inputs="bicubic", scale=2)
    fit = trainer(limit_train_batches=1, limit_val_batches=0)
    fit.fit(SR3(image_shape=data.image_shape, input_shape=data.input_shape, **TINY), data)
    fit.save_checkpoint(checkpoint := tmp_path / "run" / "checkpoints" / "last.ckpt")
    words = ["inspect", "--ckpt", str(checkpoint), "translate", "--num=3", "--draws=2", "--steps=2", "--device=cpu"]
    assert main([*words, f"--out={tmp_path / 'out'}"]) == 0
    numbers = json.loads((tmp_path / "out" / "last_translate.json").read_text())
    assert (numbers["num"], numbers["draws"], len(numbers["std"])) == (3, 2, 3)
    assert (tmp_path / "out" / "last_translate.png").exists()
    assert "dpm_solver, 2 steps" in capsys.readouterr().out
