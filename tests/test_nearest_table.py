"""The table of samples and their nearest training images: its cells, its size, and who gets it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers.logger import Logger

from lightning_gen.callbacks.nearest import NearestTable
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.images import to_float
from lightning_gen.models import DCGAN, VAE, Autoencoder
from tests.helpers import trainer


class Tables(Logger):
    """Keeps the tables that it is given."""

    name = version = "tables"

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[tuple[str, list[str], list[list[Any]], int | None]] = []

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        pass

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass

    def log_table(self, key: str, columns: list[str], data: list[list[Any]], *, step: int | None = None) -> None:
        self.tables.append((key, columns, data, step))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = ImageData(root=str(tmp_path_factory.mktemp("data")), batch_size=400)
    data.setup("fit")
    return data


class Memorised(VAE):
    """Generates the first training images, the second with one pixel changed."""

    images: torch.Tensor

    def sample(self, num, *, labels=None, generator=None):
        return self.images[:num]


def test_each_row_has_a_sample_and_its_nearest_images(data):
    model = Memorised(data.image_shape, latent_dim=2, width=4)
    train = data.image_set("train")
    stored = train[:3].clone()
    stored[1, 0, 0, 0] = 255 - stored[1, 0, 0, 0]
    changed = (255 - 2 * float(train[1:2][0, 0, 0, 0])) / 255
    model.images, logger = to_float(stored), Tables()
    runner = trainer(max_epochs=1, limit_train_batches=1, logger=logger, callbacks=[NearestTable(num=3, k=2)])
    runner.fit(model, data)
    [(key, columns, rows, step)] = logger.tables
    assert (key, step) == ("nearest", 400)
    assert columns == ["sample", "nearest 1", "nearest 2", "distance 1", "distance 2"]
    assert len(rows) == 3
    for row in rows:
        assert all(cell.shape[2] == 3 and cell.dtype == np.uint8 and cell.shape[0] >= 48 for cell in row[:3])
        assert row[3] <= row[4]
    assert [row[3] for row in rows] == pytest.approx([0, changed**2, 0], abs=1e-6)
    assert (rows[0][0] == rows[0][1]).all()
    assert (rows[1][0] != rows[1][1]).any()


def test_training_is_the_same_with_it(data):
    weights = []
    for callbacks in ([], [NearestTable(num=2)]):
        torch.manual_seed(0)
        model = DCGAN(data.image_shape, latent_dim=4, width=4)
        trainer(max_epochs=2, limit_train_batches=1, logger=Tables(), callbacks=callbacks).fit(model, data)
        weights.append((model.state_dict(), torch.rand(1)))
    assert all(torch.equal(value, weights[1][0][name]) for name, value in weights[0][0].items())
    assert torch.equal(weights[0][1], weights[1][1])


def test_only_loggers_of_tables_and_models_that_sample_have_one(data, monkeypatch):
    monkeypatch.setattr(NearestTable, "table", None)  # fails if it is called
    model, encoder = (
        DCGAN(data.image_shape, latent_dim=4, width=4),
        Autoencoder(data.image_shape, latent_dim=4, width=4),
    )
    state = {"datamodule": data, "is_global_zero": True, "fast_dev_run": False}
    for callback, options, chosen in (
        (NearestTable(), {"loggers": [object()]}, model),
        (NearestTable(num=0), {"loggers": [Tables()]}, model),
        (NearestTable(), {"loggers": [Tables()]}, encoder),
        (NearestTable(), {"loggers": [Tables()], "is_global_zero": False}, model),
        (NearestTable(), {"loggers": [Tables()], "fast_dev_run": True}, model),
    ):
        callback.on_train_end(SimpleNamespace(**{**state, **options}), chosen)


def test_the_number_of_images_that_are_searched_is_bounded(data):
    train = data.image_set("train")
    _, rows = NearestTable(k=5, max_images=2).table(train[4:5], data, torch.device("cpu"))
    assert len(rows[0]) == 1 + 2 + 2
    with pytest.raises(InputError, match=r"nearest\.k is 0"):
        NearestTable(k=0)
