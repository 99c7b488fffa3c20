"""Decoding: image formats, colour, orientation, cropping and resizing."""

import numpy as np
import torch
from PIL import Image

from lightning_gen.data import folder_set
from lightning_gen.data.decode import Framing, decode_image, is_colour
from tests.image_files import folder_data, random_pixels, save_image


def rgb(image: Image.Image) -> tuple[int, ...]:
    return tuple(decode_image(image, Framing(3, None))[:, 0, 0].tolist())


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
    assert decode_image(Image.new("RGB", (2, 2), (50, 50, 50)), Framing(1, None)).tolist() == [[[50, 50], [50, 50]]]


def test_colour_is_read_from_the_header():
    grey = Image.new("P", (1, 1))
    grey.putpalette([0, 0, 0, 9, 9, 9])
    colour = Image.new("P", (1, 1))
    colour.putpalette([0, 0, 0, 9, 8, 9])
    assert [is_colour(image) for image in (grey, colour)] == [False, True]
    assert [is_colour(Image.new(mode, (1, 1))) for mode in ("L", "LA", "1", "I;16", "RGB", "RGBA", "CMYK")] == (
        [False] * 4 + [True] * 3
    )


def test_default_channels(tmp_path):
    root = tmp_path / "x"
    save_image(root / "0.png", random_pixels(0, 8, 8))
    save_image(root / "1.png", np.full((8, 8), 40_000, np.uint16))
    save_image(root / "2.png", Image.new("LA", (8, 8), (100, 255)))
    assert folder_data(root).image_shape == (1, 8, 8)
    assert folder_data(root, channels=3).image_set("train")[:].shape == (2, 3, 8, 8)
    save_image(root / "3.gif", Image.new("RGB", (8, 8), "red"))
    save_image(root / "4.webp", Image.new("RGBA", (8, 8), "blue"))
    save_image(root / "5.JPEG", Image.new("CMYK", (8, 8)))
    data = folder_data(root)
    assert data.image_shape == (3, 8, 8)
    assert len(data.image_set("train")) == 5
    assert folder_data(root, channels=1).image_shape == (1, 8, 8)


def test_exif_orientation_is_applied(tmp_path):
    upright = np.zeros((8, 4, 3), np.uint8)
    upright[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was rotated: viewers rotate the image by 90 degrees
    for name in ("0.png", "1.png"):
        save_image(tmp_path / "x" / name, np.rot90(upright).copy(), exif=exif)
    assert torch.from_numpy(upright.transpose(2, 0, 1)).equal(folder_set(tmp_path / "x")[:][0])


def test_crop_resize_and_pad():
    wide = np.zeros((8, 16), np.uint8)
    wide[:, 4:12] = 200
    assert (decode_image(Image.fromarray(wide), Framing(1, 8)) == 200).all()  # the centred square
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert np.abs(decode_image(Image.fromarray(stripes), Framing(1, 8)).astype(int) - 127).max() < 20  # antialiased
    small = decode_image(Image.fromarray(random_pixels(0, 4, 4)), Framing(1, 8, pad=True))
    assert small.sum() == random_pixels(0, 4, 4).sum()
    assert np.array_equal(small[0, 2:6, 2:6], random_pixels(0, 4, 4))
