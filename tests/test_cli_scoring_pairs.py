"""The command evaluate for translators and for pairs of files: a run of two steps, and one clear line for bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from lightning_gen.cli import main
from tests.image_files import random_pixels, save_image, write_images, write_zip

CYCLEGAN = ["--model=CycleGAN", "--model.width=4", "--model.blocks=1", "--model.discriminator_width=4"]
SRRESNET = ["--model=SRResNet", "--model.width=4", "--model.blocks=1"]


@pytest.fixture(autouse=True)
def without_extractor(monkeypatch) -> list:
    """No extractor is found, which would take time; the test gets the sets that a classifier would be trained on."""
    sets = []
    monkeypatch.setattr("lightning_gen.cli.scoring_options.choose_extractor", lambda train, _: sets.append(train))
    return sets


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scoring")


def fit(place: Path, name: str, *options: str) -> str:
    run = [f"--runs={place}", f"--data.root={place}", f"--name={name}", "--fidelity.features=null"]
    trainer = ["--trainer.max_steps=2", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    assert main(["fit", *run, *trainer, "--trainer.logger=false", "--data.batch_size=8", *options]) == 0
    return str(place / name)


@pytest.fixture(scope="module")
def inversion(place) -> str:
    """A run of a translator in both directions, whose data has inverted digits."""
    return fit(place, "inversion", *CYCLEGAN, "--data.inputs=inverted", "--data.paired=false")


@pytest.fixture(scope="module")
def upscaler(place) -> str:
    """A run of a model that doubles the side."""
    return fit(place, "upscaler", *SRRESNET, "--data.inputs=bicubic", "--data.scale=2")


def evaluate(out: Path, *options: str) -> dict:
    assert main(["evaluate", *options, "--device=cpu", f"--out={out}"]) == 0
    return json.loads(out.read_text())


def error_of(capsys, *options: str) -> str:
    capsys.readouterr()
    assert main(["evaluate", "--device=cpu", *options]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_both_directions_of_a_translator_are_scored(inversion, tmp_path, without_extractor):
    there = evaluate(tmp_path / "there.json", f"--ckpt={inversion}", "--num_samples=20")
    back = evaluate(tmp_path / "back.json", f"--ckpt={inversion}", "--num_samples=20", "--back")
    assert [card["subject"] for card in (there, back)] == ["translations", "translations back"]
    assert [card["reference"] for card in (there, back)] == ["digits/test", "digits-inverted/test"]
    # the inputs are the negatives of the targets, so that both directions copy with the same error
    assert there["baselines"]["copy"]["psnr"] == pytest.approx(back["baselines"]["copy"]["psnr"])
    assert there["scores"]["psnr"] != back["scores"]["psnr"]
    assert {"psnr", "ssim"} <= there["scores"].keys() & back["scores"].keys()
    # a classifier would be trained on images like those that the model makes
    assert [train.name.split("/")[0] for train in without_extractor] == [
        "digits-first-half",
        "digits-second-half-inverted",
    ]


@pytest.mark.parametrize("shapes", [[(16, 16)] * 2, [(20, 24)] * 2, [(20, 24), (15, 13)]])
@pytest.mark.parametrize("archive", [False, True])
def test_a_folder_of_any_size_is_a_reference_of_a_translator(upscaler, tmp_path, shapes, archive):
    for index, shape in enumerate(shapes):
        save_image(tmp_path / "photos" / f"{index}.png", random_pixels(index, *shape))
    folder = write_zip(tmp_path / "photos") if archive else tmp_path / "photos"
    card = evaluate(tmp_path / "card.json", f"--ckpt={upscaler}", f"--reference={folder}")
    assert card["num_reference"] == len(shapes)
    assert {"psnr", "psnr_y", "consistency"} <= card["scores"].keys()
    assert card["baselines"].keys() == {"bicubic"}


def test_the_classifier_of_the_data_is_not_chosen_for_images_of_another_size(upscaler, tmp_path, without_extractor):
    for name, side in (("own", 16), ("other", 24)):
        folder = write_images(tmp_path / name, ["0.png", "1.png"], shape=(side, side))
        evaluate(tmp_path / "card.json", f"--ckpt={upscaler}", f"--reference={folder}")
    assert [None if train is None else train.name for train in without_extractor] == ["digits/train", None]


def test_partners_of_unequal_sizes_are_compared(tmp_path):
    expected = []
    for index, shape in enumerate([(20, 24, 3), (31, 17, 3), (20, 24, 3)]):
        target = random_pixels(index, *shape)
        image = np.clip(target.astype(int) + random_pixels(index + 9, *shape) // 8, 0, 255).astype(np.uint8)
        save_image(tmp_path / "images" / f"{index}.png", image)
        save_image(tmp_path / "targets" / f"{index}.bmp", target)
        expected.append(peak_signal_noise_ratio(target, image, data_range=255))
    folders = [f"--generated={tmp_path / 'images'}", f"--reference={tmp_path / 'targets'}"]
    card = evaluate(tmp_path / "card.json", *folders, "--paired", "--scale=2")
    assert card["scores"]["psnr"] == pytest.approx(np.mean(expected), rel=1e-6)
    assert {"psnr", "ssim", "psnr_y", "ssim_y"} <= card["scores"].keys()
    assert "fid" not in card["scores"]


def test_bad_input_is_one_line(upscaler, tmp_path, capsys):
    plain = write_images(tmp_path / "plain", ["0.png", "1.png"], shape=(20, 24))
    small = write_images(tmp_path / "small", ["0.png", "1.png"], shape=(10, 12))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no archive")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_text("no image")
    ckpt = f"--ckpt={upscaler}"
    pair = [f"--generated={plain}", f"--reference={plain}"]
    cases = [
        ([ckpt, "--back"], "SRResNet translates in one direction"),
        ([ckpt, "--paired"], "--paired and --scale belong to --generated"),
        ([ckpt, "--scale=2"], "--paired and --scale belong to --generated"),
        ([ckpt, "--metrics", "nll"], "has no likelihood"),
        ([ckpt, "--metrics", "lpips"], "--lpips_weights"),
        ([ckpt, "--draws=2", "--num_samples=4"], "--draws are draws of noise"),
        ([ckpt, "--reconstructions"], "reconstructs no images"),
        ([ckpt, f"--reference={tmp_path / 'nowhere'}"], "nowhere does not exist"),
        ([ckpt, f"--reference={tmp_path / 'empty'}"], "empty contains no images"),
        ([ckpt, f"--reference={tmp_path / 'notes.txt'}"], "notes.txt is not a zip archive"),
        ([ckpt, f"--reference={tmp_path / 'broken'}"], "0.png cannot be decoded (it is no image of the formats"),
        ([*pair, "--scale=2"], "add --paired"),
        ([*pair, "--paired", "--scale=10"], "--scale is 10, and borders of 10 pixels leave nothing"),
        ([*pair, "--back"], "--back needs a model"),
        (
            [f"--generated={plain}", f"--reference={small}", "--paired"],
            "24x20 cannot be compared with a target of 12x10",
        ),
        ([f"--generated={plain}", "--paired"], "needs --reference"),
    ]
    for options, words in cases:
        assert words in error_of(capsys, *options), options
    (plain / "1.png").rename(plain / "2.png")
    assert "2, and" in error_of(capsys, f"--generated={plain}", f"--reference={small}", "--paired")
