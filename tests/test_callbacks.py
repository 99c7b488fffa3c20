"""The picture callbacks: when pictures are made, their content and files, and that training is unaffected."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.io import read_image

from lightning_gen.callbacks.grids import ReconstructionGrid, SampleGrid
from lightning_gen.callbacks.interpolation import InterpolationStrip
from lightning_gen.errors import InputError
from lightning_gen.images import row_pairs, to_float
from lightning_gen.noise import randn
from tests.grids import grid_of, small_grid

SIZE, NUM, BATCH = 8, 12, 4
TILE = SIZE + 1  # make_grid's border of one pixel


class Images:
    """Twelve random grey images as an image set."""

    name, key = "random/val", "0"
    labels = None

    def __init__(self):
        self.stored = torch.randint(
            0, 256, (NUM, 1, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        )

    def __len__(self):
        return NUM

    def __getitem__(self, index):
        return self.stored[index]


class Data(LightningDataModule):
    def image_set(self, split):
        assert split == "val"
        return Images()

    def train_dataloader(self):
        return DataLoader(TensorDataset(to_float(Images().stored)), BATCH, shuffle=True)

    def val_dataloader(self):
        return DataLoader(TensorDataset(to_float(Images().stored)), BATCH)


class Plain(LightningModule):
    """Trains a small network with dropout, which uses the global generator, and has no capability."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(SIZE**2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, SIZE**2)
        )
        self.frozen = nn.Dropout().eval()
        self.images_seen = 0

    def training_step(self, batch, batch_idx):
        self.images_seen += len(batch[0])
        loss = (self.net(batch[0]) - batch[0].flatten(1)).square().mean()
        self.log_dict({"loss": loss, "images_seen": float(self.images_seen)})
        return loss

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)


class Generative(Plain):
    """A prior, a decoder and an identity reconstructor; every call also advances the global generators."""

    def sample_latents(self, num, *, generator=None):
        return randn(num, 4, generator=generator)

    def decode(self, latents):
        assert not self.training
        assert not torch.is_grad_enabled()
        torch.rand(3), np.random.rand(3)  # noqa: NPY002
        return self.net[3:](latents).tanh().unflatten(1, (1, SIZE, SIZE))

    def sample(self, num, *, labels=None, generator=None):
        assert labels is None
        return self.decode(self.sample_latents(num, generator=generator))

    def reconstruct(self, images, *, labels=None):
        assert not self.training
        return images.clone()


class Autoencoder(Plain):
    """Its latents are its images."""

    def encode(self, images, *, labels=None):
        return images

    def decode(self, latents):
        return latents


class Conditional(Plain):
    """An image is filled with its label."""

    num_classes = 3

    def sample(self, num, *, labels=None, generator=None):
        return to_float(labels.to(torch.uint8)[:, None, None, None].expand(-1, 1, SIZE, SIZE))


class PictureLogger:
    """Records pictures."""

    def __init__(self):
        self.logged = []

    def log_image(self, key, images, step=None, **kwargs):
        self.logged.append((key, images, step, kwargs))


def fit(folder: Path, model: LightningModule, *callbacks: Callback, epochs: int = 1, **options) -> Trainer:
    trainer = Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(model, Data())
    return trainer


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "samples").glob("*"))


def stub(folder: Path, **options) -> Mock:
    """A mock trainer for one call of a hook."""
    precision = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False).precision_plugin
    return Mock(
        Trainer,
        **{
            "is_global_zero": True,
            "fast_dev_run": False,
            "default_root_dir": str(folder),
            "loggers": [],
            "datamodule": Data(),
            "current_epoch": 0,
            "precision_plugin": precision,
        }
        | options,
    )


def test_files_epochs_and_sizes(tmp_path):
    samples, strip = SampleGrid(2, num=10), InterpolationStrip(3, rows=2, steps=5)
    reconstructions = ReconstructionGrid(1, num=10)
    fit(tmp_path, Generative(), samples, reconstructions, strip, epochs=3)
    assert names(tmp_path) == [
        "interpolation_000000036.png",
        "progress.gif",
        "reconstructions_000000012.png",
        "reconstructions_000000024.png",
        "reconstructions_000000036.png",
        "samples_000000024.png",
        "samples_000000036.png",  # the end of the fit
    ]
    assert samples.last_path == tmp_path / "samples" / "samples_000000036.png"
    assert small_grid(samples.last_path, 4).shape == (3, 3 * TILE + 1, 4 * TILE + 1)
    assert small_grid(reconstructions.last_path, 8).shape == (3, 4 * TILE + 1, 8 * TILE + 1)
    assert small_grid(strip.last_path, 5).shape == (3, 2 * TILE + 1, 5 * TILE + 1)


def test_noise_is_fixed(tmp_path):
    model, images = Generative(), []
    for epoch, callback in enumerate([SampleGrid(num=4), SampleGrid(num=4), SampleGrid(num=4, seed=1)]):
        model.images_seen = epoch
        callback.on_train_epoch_end(stub(tmp_path), model)
        images.append(grid_of(callback.last_path))
    assert images[0].equal(images[1])
    assert not images[0].equal(images[2])


def test_one_class_per_row(tmp_path):
    callback = SampleGrid(num=16)
    callback.on_train_epoch_end(stub(tmp_path), Conditional())
    picture = small_grid(callback.last_path, 4)
    assert picture[0, 4::TILE, 4::TILE].tolist() == [[0] * 4, [1] * 4, [2] * 4, [0] * 4]


@pytest.mark.parametrize(
    ("num_classes", "labels"), [(4, list(range(4))), (5, list(range(5))), (100, [0, 20, 40, 60, 80])]
)
def test_the_grid_has_a_row_per_class_or_evenly_spaced_classes(tmp_path, num_classes, labels):
    callback, model = SampleGrid(num=25 if num_classes == 100 else 20 if num_classes == 5 else 16), Conditional()
    model.num_classes = num_classes
    callback.on_train_epoch_end(stub(tmp_path), model)
    picture = small_grid(callback.last_path, 5 if num_classes == 100 else 4)
    assert picture[0, 4::TILE, 4].tolist() == labels


def test_ten_classes_have_ten_rows_of_the_default_grid(tmp_path):
    model = Conditional()
    model.num_classes = 10
    callback = SampleGrid()
    callback.on_train_epoch_end(stub(tmp_path), model)
    picture = small_grid(callback.last_path, 6)
    assert picture[0, 4::TILE, 4::TILE].tolist() == [[label] * 6 for label in range(10)]


def test_reconstructions_are_below_their_originals(tmp_path):
    callback = ReconstructionGrid(num=10)
    callback.on_train_epoch_end(stub(tmp_path), Generative())
    picture, stored = small_grid(callback.last_path, 8), Images().stored
    rows = [picture[:, 1 + row * TILE : (row + 1) * TILE] for row in range(4)]
    assert rows[0].equal(rows[1])
    assert rows[2].equal(rows[3])
    for index in range(10):
        left = 1 + index % 8 * TILE
        assert rows[index // 8 * 2][:1, :, left : left + SIZE].equal(stored[index])
    assert (rows[2][:, :, 1 + 2 * TILE : 1 + 3 * TILE] == 128).all()  # grey where there is no image


def test_row_pairs_order():
    above, below = torch.arange(5, dtype=torch.uint8), torch.arange(10, 15, dtype=torch.uint8)
    paired = row_pairs(above[:, None, None, None], below[:, None, None, None], 3)
    assert paired.flatten().tolist() == [0, 1, 2, 10, 11, 12, 3, 4, 128, 13, 14, 128]


def test_autoencoder_interpolates_between_images(tmp_path):
    callback = InterpolationStrip(rows=2, steps=3)
    callback.on_train_epoch_end(stub(tmp_path), Autoencoder())
    picture, stored = small_grid(callback.last_path, 3), Images().stored
    for index, (row, column) in enumerate([(0, 0), (0, 2), (1, 0), (1, 2)]):
        top, left = 1 + row * TILE, 1 + column * TILE
        assert picture[:1, top : top + SIZE, left : left + SIZE].equal(stored[index])
    middle = picture[:1, 1 : 1 + SIZE, 1 + TILE : 1 + TILE + SIZE].float()
    assert (middle - (stored[0].float() + stored[1].float()) / 2).abs().max() <= 0.5 + 1e-3


def test_training_is_the_same_with_pictures(tmp_path):
    def state(*callbacks):
        model = Generative()
        torch.manual_seed(1), np.random.seed(1)  # noqa: NPY002
        fit(tmp_path, model, *callbacks, epochs=3)
        assert not model.frozen.training
        return model.state_dict(), torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002

    plain, plain_torch, plain_numpy = state()
    observed, observed_torch, observed_numpy = state(SampleGrid(num=4), ReconstructionGrid(), InterpolationStrip())
    assert names(tmp_path)
    assert all(plain[name].equal(observed[name]) for name in plain)
    assert plain_torch.equal(observed_torch)
    assert (plain_numpy == observed_numpy).all()


def test_modes_are_restored(tmp_path):
    model = Generative().train()
    model.frozen.eval()
    before = [module.training for module in model.modules()]
    for callback in (SampleGrid(num=4), ReconstructionGrid(), InterpolationStrip()):
        callback.on_train_epoch_end(stub(tmp_path), model)
    assert [module.training for module in model.modules()] == before
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


CALLBACKS = [SampleGrid, ReconstructionGrid, InterpolationStrip]


@pytest.mark.parametrize("make", CALLBACKS)
def test_no_picture_without_the_capability(tmp_path, make):
    callback = make()
    callback.on_train_epoch_end(stub(tmp_path), Plain())
    assert names(tmp_path) == []
    assert callback.last_path is None


@pytest.mark.parametrize("make", [ReconstructionGrid, InterpolationStrip])
def test_no_picture_without_images(tmp_path, make):
    model = Autoencoder()
    model.reconstruct = lambda images: images
    make().on_train_epoch_end(stub(tmp_path, datamodule=None), model)
    assert names(tmp_path) == []


@pytest.mark.parametrize("make", CALLBACKS)
@pytest.mark.parametrize("option", [{"is_global_zero": False}, {"fast_dev_run": True}])
def test_no_picture_on_other_ranks_or_in_a_dry_run(tmp_path, make, option):
    callback = make()
    callback.on_train_epoch_end(stub(tmp_path, **option), Generative())
    callback.on_train_end(stub(tmp_path, **option), Generative())
    assert names(tmp_path) == []


def test_loggers_receive_the_picture(tmp_path):
    logger, callback = PictureLogger(), SampleGrid(num=4)
    model = Generative()
    model.images_seen = 7
    callback.on_train_epoch_end(stub(tmp_path, loggers=[object(), logger]), model)
    [(key, [image], step, options)] = logger.logged
    assert (key, step) == ("samples", 7)
    assert options == {"caption": ["Generative samples, 7 images seen, raw weights"]}
    assert image.dtype == np.uint8
    assert (image == read_image(str(callback.last_path)).permute(1, 2, 0).numpy()).all()


def test_an_unwritable_folder_is_an_input_error(tmp_path):
    (tmp_path / "samples").write_text("a file in place of the folder")
    with pytest.raises(InputError, match=r"cannot write .*samples_000000000.png"):
        SampleGrid(num=4).on_train_epoch_end(stub(tmp_path), Generative())


@pytest.mark.parametrize(
    "make",
    [
        lambda: SampleGrid(0),
        lambda: SampleGrid(num=0),
        lambda: ReconstructionGrid(num=0),
        lambda: InterpolationStrip(steps=1),
        lambda: SampleGrid(-1),
    ],
)
def test_invalid_arguments_are_named(make):
    with pytest.raises(InputError, match="must be"):
        make()
