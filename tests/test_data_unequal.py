"""Folders of images of unequal sizes and their inputs."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from lightning_gen.data import folder_pairs
from lightning_gen.data.inputs import KINDS
from lightning_gen.errors import InputError
from lightning_gen.types import ImageSet, PairSet
from tests.image_files import random_pixels, save_image, write_zip

SIZES = [(13, 18), (8, 8), (21, 9)]


def photo(index: int) -> np.ndarray:
    return random_pixels(index, *SIZES[index], 3)


@pytest.fixture
def photographs(tmp_path) -> Path:
    for index in range(3):
        save_image(tmp_path / "set" / f"{index}.png", photo(index))
    return tmp_path / "set"


def one(images: ImageSet, index: int) -> np.ndarray:
    [image] = images[index : index + 1].numpy()
    return image


@pytest.mark.parametrize("scale", [2, 4])
def test_images_are_cut_to_multiples_of_the_scale(photographs, scale):
    for path in (photographs, write_zip(photographs)):
        pairs = folder_pairs(path, "bicubic", scale)
        assert (len(pairs.inputs), len(pairs.images), pairs.paired) == (3, 3, True)
        for index, (height, width) in enumerate(SIZES):
            cut = photo(index)[: height // scale * scale, : width // scale * scale].transpose(2, 0, 1)
            assert np.array_equal(one(pairs.images, index), cut)
            expected = KINDS["bicubic"].derive_stored(pairs.images[index : index + 1], scale).numpy()[0]
            assert np.array_equal(one(pairs.inputs, index), expected)
            assert expected.shape == (3, height // scale, width // scale)


def test_images_of_one_size_are_read_together_and_others_are_not(photographs):
    save_image(photographs / "3.png", photo(0))
    pairs = folder_pairs(photographs, "grey")
    assert isinstance(pairs.images, ImageSet)
    assert pairs.images[np.array([0, 3])].shape == (2, 3, 13, 18)
    assert pairs.inputs[np.array([3, 0])].shape == (2, 1, 13, 18)
    with pytest.raises(InputError, match="differ in size; read them one at a time"):
        pairs.images[:2]


def test_keys_depend_on_content_kind_and_scale(photographs, tmp_path):
    def key(pairs: PairSet) -> tuple[str, str]:
        return pairs.inputs.key, pairs.images.key

    keys = [key(folder_pairs(photographs, "bicubic", scale)) for scale in (2, 4)]
    keys.append(key(folder_pairs(photographs, "inverted")))
    assert len({inputs for inputs, _ in keys}) == len({images for _, images in keys}) == 3
    assert key(folder_pairs(photographs, "grey"))[1] == keys[2][1]
    pairs = folder_pairs(photographs, "bicubic", 2)
    assert np.array_equal(one(pickle.loads(pickle.dumps(pairs)).inputs, 2), one(pairs.inputs, 2))


def test_channels(photographs):
    assert folder_pairs(photographs, "inverted", channels=1).images[:1].shape[1] == 1
    for index in range(3):
        save_image(photographs / f"{index}.png", photo(index)[..., 0])
    assert folder_pairs(photographs, "inverted").images[:1].shape[1] == 1
    assert folder_pairs(photographs, "inverted", channels=3).inputs[:1].shape[1] == 3


@pytest.mark.parametrize("scale", [None, 2])
def test_stored_folders(tmp_path, scale):
    step = scale or 1
    for index, (height, width) in enumerate(SIZES):
        image = photo(index)
        save_image(tmp_path / "x" / "B" / f"{index}.png", image)
        small = 255 - image[: height // step * step : step, : width // step * step : step, 0]
        save_image(tmp_path / "x" / "A" / f"{index}.bmp", small)
    pairs = folder_pairs(tmp_path / "x", scale=scale)
    for index in range(3):
        assert np.array_equal(one(pairs.inputs, index)[0], 255 - one(pairs.images, index)[0, ::step, ::step])


def test_side_by_side(tmp_path):
    for index in range(3):
        save_image(tmp_path / "x" / f"{index}.png", np.concatenate([255 - photo(index), photo(index)], axis=1))
    pairs = folder_pairs(tmp_path / "x")
    for index in range(3):
        assert np.array_equal(one(pairs.inputs, index), 255 - one(pairs.images, index))
        assert np.array_equal(one(pairs.images, index), photo(index).transpose(2, 0, 1))


def test_what_is_refused(photographs, tmp_path):
    with pytest.raises(InputError, match=r"set data\.scale to 2"):
        folder_pairs(photographs, "bicubic")
    with pytest.raises(InputError, match="must be one of bicubic"):
        folder_pairs(photographs, "sketch")
    with pytest.raises(InputError, match=r"1.png is smaller than the scale 16"):
        folder_pairs(photographs, "bicubic", 16).images[1:2]
    (photographs / "0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"0.png cannot be decoded"):
        folder_pairs(photographs, "grey").images[:1]
    save_image(tmp_path / "x" / "A" / "0.png", photo(0))
    save_image(tmp_path / "x" / "B" / "1.png", photo(0))
    with pytest.raises(InputError, match=r"A/0.png has no partner in domain B"):
        folder_pairs(tmp_path / "x")
    save_image(tmp_path / "x" / "B" / "0.png", photo(1))
    (tmp_path / "x" / "B" / "1.png").unlink()
    with pytest.raises(InputError, match=r"is 18x13 and its partner .* is 8x8"):
        folder_pairs(tmp_path / "x")
