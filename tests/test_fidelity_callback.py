"""The callback: logged names, the best checkpoint, and training that is the same with and without it."""

import json

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import nn

from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.errors import InputError
from lightning_gen.types import PairSet
from tests.test_evaluation import Generator, Images, digit_sets


class Model(pl.LightningModule):
    """Fits a generator's mean to the images' mean, with noise from torch's global generator."""

    def __init__(self):
        super().__init__()
        self.generator = Generator()
        self.images_seen = 0

    def sample(self, num, *, labels=None, generator=None):
        assert not self.generator.training
        return self.generator.sample(num, generator=generator)

    def training_step(self, batch, _):
        self.images_seen += len(batch)
        return (self.generator.sample(len(batch)).mean(0) - batch.mean(0)).square().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class Autoencoder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(64, 64)

    def reconstruct(self, images, *, labels=None):
        return self.net(images.flatten(1)).view_as(images)

    def training_step(self, batch, _):
        return (self.reconstruct(batch) - batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Neither(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(64, 1)

    def training_step(self, batch, _):
        return self.net(batch.flatten(1)).square().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


class Data(pl.LightningDataModule):
    def __init__(self):
        super().__init__()
        self.sets = dict(zip(("train", "test"), digit_sets(), strict=True))
        self.sets["val"] = self.sets["test"]

    def image_set(self, split):
        return self.sets[split]

    def train_dataloader(self):
        images = self.sets["train"].images[:256].float() / 127.5 - 1
        return torch.utils.data.DataLoader(images, batch_size=64, shuffle=True)


def fit(folder, model, *callbacks, logger=False, data=None, **options):
    pl.seed_everything(1, verbose=False)
    trainer = pl.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=logger,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        log_every_n_steps=1,
        **{"max_epochs": 3, **options},
    )
    torch.manual_seed(2)
    model = model()
    trainer.fit(model, data or Data())
    return trainer, model


def test_it_logs_scores_for_the_best_checkpoint_and_does_not_change_training(tmp_path):
    fidelity = Fidelity(num_samples=200, metrics=("fid", "isc"))
    best = ModelCheckpoint(tmp_path / "checkpoints", "{epoch}", monitor="fidelity/fid", mode="min", save_top_k=3)
    # ModelCheckpoint stands first: Lightning itself moves it behind
    trainer, model = fit(tmp_path, Model, best, fidelity, logger=CSVLogger(tmp_path))
    logged = trainer.logged_metrics
    assert {"fidelity/fid200_train_classifier", "fidelity/fid", "fidelity/isc", "fidelity/isc_std"} <= set(logged)
    assert logged["images_seen"] == 3 * 256
    cards = [json.loads(path.read_text()) for path in sorted((tmp_path / "evaluation").glob("*.json"))]
    assert [card["images_seen"] for card in cards] == [256, 512, 768]
    assert cards[-1]["scores"] == pytest.approx(fidelity.last_card.scores)
    fids = [card["scores"]["fid"] for card in cards]
    assert float(best.best_model_score) == pytest.approx(min(fids), rel=1e-5)
    assert best.best_model_path.endswith(f"epoch={fids.index(min(fids))}.ckpt")
    saved = torch.load(best.best_model_path, weights_only=True)
    assert set(saved["state_dict"]) == set(model.state_dict())

    _, without_callback = fit(tmp_path, Model)
    for name, value in without_callback.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_it_scores_every_n_epochs_and_at_the_end(tmp_path):
    fit(tmp_path / "a", Model, Fidelity(every_n_epochs=2, num_samples=50))
    assert len(list((tmp_path / "a" / "evaluation").iterdir())) == 2
    fit(tmp_path / "b", Model, Fidelity(every_n_epochs=100, num_samples=50), max_epochs=-1, max_steps=6)
    assert len(list((tmp_path / "b" / "evaluation").iterdir())) == 1


def test_a_model_that_only_reconstructs_is_scored_by_reconstructions(tmp_path):
    fidelity = Fidelity(num_samples=100)
    trainer, _ = fit(tmp_path, Autoencoder, fidelity, max_epochs=1)
    assert fidelity.last_card.subject == "reconstructions"
    assert {"fidelity/rfid100_train_classifier", "fidelity/fid", "fidelity/psnr"} <= set(trainer.callback_metrics)


def test_nothing_is_scored_without_a_capability_or_in_a_fast_dev_run(tmp_path):
    fidelity = Fidelity()
    fit(tmp_path, Neither, fidelity, max_epochs=1)
    fit(tmp_path, Model, fidelity, fast_dev_run=True)
    assert fidelity.last_card is None
    assert not (tmp_path / "evaluation").exists()


def test_bad_options_are_refused_before_training(tmp_path):
    with pytest.raises(InputError, match="every_n_epochs is 0"):
        Fidelity(every_n_epochs=0)
    with pytest.raises(InputError, match="unknown metric 'FID'"):
        Fidelity(metrics=("FID",))
    with pytest.raises(InputError, match="no file"):
        fit(tmp_path, Model, Fidelity(features="inception", inception_weights=tmp_path / "none.pth"))


class Translation(pl.LightningModule):
    """Translates inverted digits by a scale and an offset of the pixels."""

    input_shape = image_shape = (1, 8, 8)
    needs_pairs, context, scale = True, 0, 1

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def translate(self, inputs, *, generator=None):
        return self.line(inputs[..., None])[..., 0].clamp(-1, 1)

    def training_step(self, batch, _):
        return (self.translate(-batch) - batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class PairData(Data):
    """The digits and their negatives; the val split has ``num_val`` images."""

    def __init__(self, num_val=100, paired=True):
        super().__init__()
        val = self.sets["test"]
        self.sets["val"] = Images("digits/val", val.images[:num_val], val.labels[:num_val])
        self.paired = paired

    def pair_set(self, split):
        images = self.sets[split]
        return PairSet(Images(f"inverted/{split}", 255 - images.images, images.labels), images, self.paired)


def test_translations_of_the_val_split_are_scored_and_can_be_monitored(tmp_path):
    fidelity = Fidelity()
    best = ModelCheckpoint(tmp_path / "checkpoints", monitor="fidelity/psnr", mode="max")
    trainer, _ = fit(tmp_path, Translation, fidelity, best, data=PairData(), max_epochs=2)
    card = fidelity.last_card
    assert (card.subject, card.reference, card.num_generated) == ("translations", "digits/val", 100)
    logged = {"fidelity/tfid100_val_classifier", "fidelity/fid", "fidelity/tpsnr100_val", "fidelity/psnr"}
    assert logged <= set(trainer.callback_metrics)
    assert {"label_kept", "psnr"} <= set(card.scores)
    cards = [json.loads(path.read_text()) for path in sorted((tmp_path / "evaluation").iterdir())]
    assert cards[0]["baselines"] == cards[1]["baselines"]
    assert set(cards[0]["baselines"]) == {"copy"}
    assert float(best.best_model_score) == pytest.approx(max(card["scores"]["psnr"] for card in cards), rel=1e-5)


def test_translations_of_the_train_split_are_scored_where_val_is_too_small(tmp_path):
    fidelity = Fidelity(num_samples=50)
    fit(tmp_path, Translation, fidelity, data=PairData(num_val=1), max_epochs=1)
    assert fidelity.last_card.reference == "digits/train"
    assert fidelity.last_card.num_generated == 50


def test_pairs_are_scored_without_an_extractor(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_gen.callbacks.fidelity.choose_extractor", lambda *_: None)
    fidelity = Fidelity()
    trainer, _ = fit(tmp_path, Translation, fidelity, data=PairData(), max_epochs=1)
    assert fidelity.last_card.extractor is None
    assert "fidelity/psnr" in trainer.callback_metrics
    assert "fidelity/fid" not in trainer.callback_metrics
    with pytest.warns(UserWarning, match="the model is not scored"):
        fit(tmp_path, Translation, fidelity, data=PairData(paired=False), max_epochs=1)


def test_a_translator_needs_inputs(tmp_path):
    with pytest.raises(InputError, match="makes images from images"):
        fit(tmp_path, Translation, Fidelity(), max_epochs=1)
