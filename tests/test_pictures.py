"""What pictures look like: captions, and the animation of a run's grids."""

import numpy as np
import torch
from PIL import Image, ImageSequence
from torchvision.io import read_image

from lightning_gen.callbacks.animation import animate, evenly_spaced
from lightning_gen.callbacks.grids import SampleGrid
from lightning_gen.drawing import with_caption
from tests.grids import CAPTION
from tests.test_callbacks import Generative, fit, stub


def test_the_caption_is_drawn_above_the_grid(tmp_path):
    callback, model, pictures = SampleGrid(num=4), Generative(), []
    for model.images_seen in (3, 3_000_000):
        callback.on_train_epoch_end(stub(tmp_path), model)
        pictures.append(read_image(str(callback.last_path)))
    assert pictures[0][:, CAPTION:].equal(pictures[1][:, CAPTION:])
    assert (pictures[0][:, :CAPTION] < 128).any()  # black on white
    assert not pictures[0][:, :CAPTION].equal(pictures[1][:, :CAPTION])


def test_a_long_caption_widens_the_picture():
    picture = torch.zeros(3, 5, 6, dtype=torch.uint8)
    drawn = with_caption(picture, "a long line of text")
    assert drawn.shape[2] > 100
    assert drawn[:, CAPTION:, :6].equal(picture)
    assert (drawn[:, CAPTION:, 6:] == 255).all()


def test_the_animation_shows_the_grids_of_all_sessions_of_a_run(tmp_path):
    model = Generative()
    for epochs in (2, 3):
        fit(tmp_path, model, SampleGrid(num=4), epochs=epochs)  # the second goes on in the folder of the first
    with Image.open(tmp_path / "samples" / "progress.gif") as animation:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(animation)]
        assert animation.info["loop"] == 0
    pictures = sorted((tmp_path / "samples").glob("samples_*.png"))
    assert len(pictures) == 5
    assert len(frames) == 5
    for frame, path in zip(frames, pictures, strict=True):
        difference = np.asarray(frame).astype(int) - np.asarray(Image.open(path)).astype(int)
        assert np.abs(difference).mean() < 8  # of 256 colours


def test_the_animation_has_a_bounded_number_of_frames_and_a_bounded_width(tmp_path):
    paths = []
    for index in range(60):
        paths.append(tmp_path / f"{index:02d}.png")
        size = (300, 200) if index == 3 else (1440, 720)
        Image.new("RGB", size, (index, 4 * index, 0)).save(paths[-1])
    animate(paths, tmp_path / "all.gif")
    with Image.open(tmp_path / "all.gif") as animation:
        assert animation.n_frames == 47  # one of 48 has another size
        assert animation.size == (720, 360)
        animation.seek(46)
        assert animation.info["duration"] == 2000
    assert evenly_spaced(paths, 3) == [paths[0], paths[30], paths[59]]
