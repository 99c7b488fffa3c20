"""The command translate, on a real model of super-resolution and on stand-ins whose translations are known."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.io import ImageReadMode, decode_image

from lightning_gen.cli import generation, main, translating
from lightning_gen.images import to_float, to_uint8
from lightning_gen.models.autoencoders.vae import VAE
from lightning_gen.models.base import DescentModule
from lightning_gen.models.super_resolution.srresnet import SRResNet
from lightning_gen.models.translator import ImageTranslation
from lightning_gen.noise import image_generators, uniform
from lightning_gen.resize import bicubic_upscale
from lightning_gen.types import SamplingOptions
from tests.image_files import random_pixels, save_image, write_images, write_zip


class Inversion(ImageTranslation, DescentModule):
    """Inverts images, and leaves them as they are on the way back; the whole image counts, as with instance norm."""

    def __init__(self, image_shape=(3, 8, 8), input_shape=(3, 8, 8)):
        super().__init__(image_shape=image_shape, input_shape=input_shape)
        self.set_network(nn.Conv2d(input_shape[0], image_shape[0], 1))
        self.save_hyperparameters()

    def translate(self, inputs, *, generator=None):
        return -inputs[:, : self.image_shape[0]]

    def translate_back(self, images, *, generator=None):
        return images

    def loss(self, batch):
        raise NotImplementedError

    def configure_optimizers(self):
        raise NotImplementedError


class Noise(Inversion):
    """Draws the translation from the generator alone."""

    def translate(self, inputs, *, generator=None):
        return uniform(len(inputs), *inputs.shape[1:], generator=generator) * 2 - 1


class Steps(Inversion):
    """Makes the translation in as many steps as asked, and reports them."""

    sampling = SamplingOptions()
    progress_callback = None

    def translate(self, inputs, *, generator=None):
        for _ in range(self.sampling.steps):
            if self.progress_callback is not None:
                self.progress_callback(len(inputs) / self.sampling.steps)
        return inputs


class Exhausted(Inversion):
    """Needs more memory than there is."""

    def translate(self, inputs, *, generator=None):
        raise torch.OutOfMemoryError


def save_model(model, path: Path) -> str:
    checkpoint = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return str(path)


@pytest.fixture(scope="module")
def inversion(tmp_path_factory) -> str:
    return save_model(Inversion(), tmp_path_factory.mktemp("inversion") / "model.ckpt")


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory) -> str:
    torch.manual_seed(0)
    model = SRResNet(image_shape=(3, 16, 16), input_shape=(3, 8, 8), width=4, blocks=1)
    return save_model(model, tmp_path_factory.mktemp("upscaler") / "model.ckpt")


def run(ckpt: str, source: Path, out: Path, *options: str) -> int:
    return main(["translate", "--ckpt", ckpt, "--input", str(source), "--out", str(out), "--device=cpu", *options])


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def error_of(capsys, *arguments) -> str:
    assert run(*arguments) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def test_a_file_a_folder_and_a_zip_give_the_same_images(inversion, tmp_path, capsys):
    folder = write_images(tmp_path / "photos", ["a.png", "sub/b.bmp", "sub/a.png"], shape=(5, 7, 3))
    (folder / "notes.txt").write_text("no image")
    sources = {"folder": folder, "zip": write_zip(folder)}
    for name, source in sources.items():
        assert run(inversion, source, tmp_path / name) == 0
        assert "3 images in" in capsys.readouterr().out
        written = {path.relative_to(tmp_path / name).as_posix() for path in (tmp_path / name).rglob("*.*")}
        assert written == {"a.png", "sub/b.png", "sub/a.png"}
        for target, original in (("a.png", "a.png"), ("sub/b.png", "sub/b.bmp")):
            assert np.array_equal(pixels(tmp_path / name / target), 255 - pixels(folder / original))
    assert run(inversion, folder / "sub" / "b.bmp", tmp_path / "file") == 0
    assert np.array_equal(pixels(tmp_path / "file" / "b.png"), pixels(tmp_path / "zip" / "sub" / "b.png"))


def test_tiles_of_an_upscaler_equal_the_whole_image(upscaler, tmp_path):
    photo = write_images(tmp_path / "photos", ["a.png"], shape=(41, 30, 3)) / "a.png"
    assert run(upscaler, photo, tmp_path / "whole") == 0
    assert run(upscaler, photo, tmp_path / "tiles", "--tile", "8") == 0
    whole, tiled = (decode_image(tmp_path / name / "a.png", ImageReadMode.RGB).int() for name in ("whole", "tiles"))
    assert whole.shape == (3, 82, 60)
    assert (whole - tiled).abs().max() <= 1


def test_alpha_is_kept_and_the_colours_under_it_too(inversion, tmp_path):
    image = random_pixels(0, 6, 9, 4)
    save_image(tmp_path / "in" / "a.png", image)
    assert run(inversion, tmp_path / "in", tmp_path / "out") == 0
    result = pixels(tmp_path / "out" / "a.png")
    assert np.array_equal(result[..., 3], image[..., 3])
    assert np.array_equal(result[..., :3], 255 - image[..., :3])


def test_alpha_is_enlarged_bicubically_with_the_image(upscaler, tmp_path):
    image = random_pixels(1, 6, 9, 4)
    save_image(tmp_path / "a.png", image)
    save_image(tmp_path / "opaque.png", image[..., :3])
    assert run(upscaler, tmp_path / "a.png", tmp_path / "out") == 0
    assert run(upscaler, tmp_path / "opaque.png", tmp_path / "out_opaque") == 0
    result = pixels(tmp_path / "out" / "a.png")
    alpha = to_uint8(bicubic_upscale(to_float(torch.tensor(image[None, None, ..., 3])), 2))
    assert result.shape == (12, 18, 4)
    assert np.array_equal(result[..., 3], alpha[0, 0].numpy())
    assert np.array_equal(result[..., :3], pixels(tmp_path / "out_opaque" / "opaque.png"))


def test_a_palette_with_a_transparent_colour_keeps_its_alpha(inversion, tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    save_image(tmp_path / "a.png", image, transparency=1)
    assert run(inversion, tmp_path / "a.png", tmp_path / "out") == 0
    expected = [[[245, 235, 225, 255], [215, 205, 195, 0]], [[185, 175, 165, 255], [215, 205, 195, 0]]]
    assert pixels(tmp_path / "out" / "a.png").tolist() == expected


@pytest.mark.parametrize(("alpha", "mode"), [(False, "L"), (True, "LA")])
def test_a_model_of_grey_images_gets_the_luma(tmp_path, alpha, mode):
    grey = save_model(Inversion(image_shape=(1, 8, 8), input_shape=(1, 8, 8)), tmp_path / "grey.ckpt")
    image = random_pixels(2, 6, 9, 4 if alpha else 3)
    save_image(tmp_path / "a.png", image)
    assert run(grey, tmp_path / "a.png", tmp_path / "out") == 0
    luma = 255 - np.asarray(Image.fromarray(image[..., :3]).convert("L"))
    with Image.open(tmp_path / "out" / "a.png") as result:
        assert result.mode == mode
        assert np.array_equal(np.asarray(result.getchannel(0)), luma)


def test_grey_and_16_bit_images_become_rgb_and_exif_turns_images(inversion, tmp_path):
    grey = random_pixels(3, 4, 6)
    save_image(tmp_path / "in" / "grey.png", grey)
    save_image(tmp_path / "in" / "deep.png", Image.fromarray(grey.astype(np.uint16) * 257))
    turned = Image.fromarray(random_pixels(4, 4, 6, 3))
    exif = turned.getexif()
    exif[0x0112] = 6
    save_image(tmp_path / "in" / "turned.png", turned, exif=exif)
    assert run(inversion, tmp_path / "in", tmp_path / "out") == 0
    for name in ("grey", "deep"):
        assert np.array_equal(pixels(tmp_path / "out" / f"{name}.png"), 255 - np.repeat(grey[..., None], 3, axis=2))
    expected = 255 - np.rot90(np.asarray(turned), k=-1)
    assert np.array_equal(pixels(tmp_path / "out" / "turned.png"), expected)


def test_the_way_back(inversion, upscaler, tmp_path, capsys):
    folder = write_images(tmp_path / "photos", ["a.png"], shape=(5, 7, 3))
    assert run(inversion, folder, tmp_path / "out", "--back") == 0
    assert np.array_equal(pixels(tmp_path / "out" / "a.png"), pixels(folder / "a.png"))
    line = error_of(capsys, upscaler, folder, tmp_path / "x", "--back")
    assert "--back" in line
    assert "SRResNet" in line


def test_noise_depends_on_the_seed_and_the_position_in_the_list(tmp_path):
    noise = save_model(Noise(), tmp_path / "noise.ckpt")
    folder = write_images(tmp_path / "photos", ["a.png", "b.png", "c.png"], shape=(4, 4, 3))
    assert run(noise, folder, tmp_path / "all", "--seed=3") == 0
    assert run(noise, folder, tmp_path / "other", "--seed=4") == 0
    (folder / "b.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"b\.png cannot be decoded"):
        assert run(noise, folder, tmp_path / "skipped", "--seed=3", "--on_corrupt=skip") == 0
    first = to_uint8(uniform(1, 3, 4, 4, generator=image_generators(3, [0])) * 2 - 1)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(pixels(tmp_path / "all" / "a.png"), first)
    images = {(run, name): pixels(tmp_path / run / f"{name}.png") for run in ("all", "other") for name in "abc"}
    assert len({image.tobytes() for image in images.values()}) == 6
    assert {path.name for path in (tmp_path / "skipped").iterdir()} == {"a.png", "c.png"}
    assert np.array_equal(pixels(tmp_path / "skipped" / "c.png"), images["all", "c"])


def test_a_file_that_is_no_image_stops_before_the_first_translation(inversion, tmp_path, capsys):
    folder = write_images(tmp_path / "photos", ["a.png", "c.png"], shape=(5, 7, 3))
    (folder / "b.jpg").write_bytes((folder / "a.png").read_bytes()[:60])
    line = error_of(capsys, inversion, folder, tmp_path / "out")
    assert "b.jpg" in line
    assert "--on_corrupt skip" in line
    assert not (tmp_path / "out").exists()
    with pytest.warns(UserWarning, match=r"b\.jpg"):
        assert run(inversion, folder / "b.jpg", tmp_path / "out", "--on_corrupt=skip") == 2
    assert "none of the 1 files" in capsys.readouterr().err


def test_results_of_one_name_keep_the_endings(inversion, tmp_path, capsys):
    folder = write_images(tmp_path / "photos", ["a.png", "a.bmp", "b.png", "A/a.png"], shape=(5, 7, 3))
    assert run(inversion, folder, tmp_path / "out") == 0
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert written == {"a.png.png", "a.bmp.png", "b.png", "A/a.png"}
    save_image(folder / "a.png.bmp", random_pixels(0, 4, 4, 3))
    assert "rename" in error_of(capsys, inversion, folder, tmp_path / "x")


def test_names_in_an_archive_stay_inside_the_folder():
    assert translating.output_names(["/etc/a.png"]) == ["etc/a.png"]


def test_nothing_is_overwritten(inversion, tmp_path, capsys):
    folder = write_images(tmp_path / "photos", ["a.png"], shape=(5, 7, 3))
    before = pixels(folder / "a.png")
    assert "not empty" in error_of(capsys, inversion, folder, folder)
    assert "is a file" in error_of(capsys, inversion, folder, folder / "a.png")
    assert np.array_equal(pixels(folder / "a.png"), before)


def test_tiles_of_a_model_that_sees_the_whole_image_need_an_overlap(inversion, tmp_path, capsys):
    folder = write_images(tmp_path / "photos", ["a.png"], shape=(9, 7, 3))
    line = error_of(capsys, inversion, folder, tmp_path / "out", "--tile=4")
    assert "whole image" in line
    assert "--overlap" in line
    assert run(inversion, folder, tmp_path / "out", "--tile=4", "--overlap=2") == 0
    assert np.array_equal(pixels(tmp_path / "out" / "a.png"), 255 - pixels(folder / "a.png"))


def test_invalid_input_is_one_line(inversion, tmp_path, capsys):
    folder = write_images(tmp_path / "photos", ["a.png"], shape=(5, 7, 3))
    out = tmp_path / "out"
    assert "--tile" in error_of(capsys, inversion, folder, out, "--overlap=3")
    assert "at least 1" in error_of(capsys, inversion, folder, out, "--tile=0")
    assert "--overlap" in error_of(capsys, inversion, folder, out, "--tile=4", "--overlap=-1")
    assert "--seed" in error_of(capsys, inversion, folder, out, "--seed=-1")
    assert "--steps" in error_of(capsys, inversion, folder, out, "--steps=5")
    assert "does not exist" in error_of(capsys, inversion, tmp_path / "nowhere", out)
    (tmp_path / "empty").mkdir()
    assert "contains no images" in error_of(capsys, inversion, tmp_path / "empty", out)
    assert not out.exists()


def test_translate_and_sample_name_each_other(inversion, tmp_path, capsys):
    folder = write_images(tmp_path / "photos", ["a.png"], shape=(5, 7, 3))
    vae = save_model(VAE(image_shape=(1, 8, 8), width=4, latent_dim=2), tmp_path / "vae.ckpt")
    assert "with sample" in error_of(capsys, vae, folder, tmp_path / "x")
    assert main(["sample", "--ckpt", inversion, "--out", str(tmp_path / "x")]) == 2
    assert "use translate" in capsys.readouterr().err


def test_an_image_too_large_for_the_memory_is_named(tmp_path, capsys):
    exhausted = save_model(Exhausted(), tmp_path / "exhausted.ckpt")
    folder = write_images(tmp_path / "photos", ["a.png"], shape=(5, 7, 3))
    line = error_of(capsys, exhausted, folder, tmp_path / "x")
    assert "a.png, 7x5 pixels" in line
    assert "--tile 256" in line


@pytest.fixture
def terminal(monkeypatch) -> list[float]:
    """A terminal, and the fractions of images by which its bar advances."""

    class Terminal(generation.Console):
        is_terminal = True

    advances = []
    bar = translating.image_bar

    @contextmanager
    def recorded_bar(title, num):
        with bar(title, num) as advance:
            yield lambda images: (advances.append(images), advance(images))

    monkeypatch.setattr(generation, "Console", Terminal)
    monkeypatch.setattr(translating, "image_bar", recorded_bar)
    return advances


def test_a_bar_counts_images_by_their_tiles(inversion, tmp_path, terminal, capsys):
    folder = write_images(tmp_path / "photos", ["a.png", "b.png"], shape=(8, 7, 3))
    assert run(inversion, folder, tmp_path / "out", "--tile=4", "--overlap=0") == 0
    assert terminal == [1 / 4] * 8
    error = capsys.readouterr().err
    assert "translating" in error
    assert "2/2" in error


def test_a_bar_counts_the_steps_of_an_iterative_model(tmp_path, terminal, capsys):
    steps = save_model(Steps(), tmp_path / "steps.ckpt")
    folder = write_images(tmp_path / "photos", ["a.png", "b.png"], shape=(8, 7, 3))
    assert run(steps, folder, tmp_path / "out", "--steps=5") == 0
    assert terminal == [1 / 5] * 10
    assert run(steps, folder, tmp_path / "tiles", "--steps=5", "--tile=4", "--overlap=0") == 0
    assert terminal[10:] == [1 / 4] * 8
