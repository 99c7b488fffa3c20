"""Loaders that know nothing of this package: tensors and (x, y) pairs, for every model."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.connectors.data_connector import warning_cache
from torch.utils.data import DataLoader, TensorDataset

from lightning_gen import ConditionalGAN, ImageData, InputError
from lightning_gen.models import DCGAN, CycleGAN, Pix2Pix
from lightning_gen.models.plain_batches import HOOK_WARNING, to_batch
from lightning_gen.types import Translator
from tests.cases import CASES, Case
from tests.helpers import Batches, trainer

TINY = {"image_shape": (1, 16, 16), "width": 4, "latent_dim": 6}


def pairs_of(case: Case, num: int = 8) -> DataLoader:
    """What a user's own DataLoader yields: uint8 images and labels, or floats and their targets."""
    batch = next(iter(Batches(1, num, scale=case.scale_of(0))))
    images = ((batch.images + 1) * 127.5).round().to(torch.uint8)
    x, y = (batch.inputs, batch.images) if case.scale is not None else (images, batch.labels)
    return DataLoader(TensorDataset(x, y), batch_size=num)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model.__name__)
def test_every_model_trains_on_pairs_of_tensors(case):
    model = case.build()
    trainer().fit(model, pairs_of(case))
    assert model.images_seen == 8


def test_uint8_and_float_images_train_alike():
    stored = torch.randint(0, 256, (8, 1, 16, 16), dtype=torch.uint8)
    states = []
    for images in (stored, stored.float() / 127.5 - 1, (stored.float() / 127.5 - 1).double()):
        pl.seed_everything(0)
        model = DCGAN(**TINY)
        trainer().fit(model, DataLoader(images, batch_size=8))
        states.append(model.state_dict())
    for state in states[1:]:
        assert all(torch.equal(value, state[name]) for name, value in states[0].items())


def test_a_dataset_of_images_alone_and_held_out_pairs():
    case = next(case for case in CASES if case.model.__name__ == "VAE")
    model, runner = case.build(), trainer()
    runner.fit(model, DataLoader(torch.zeros(8, 1, 16, 16), batch_size=4), pairs_of(case))
    assert model.images_seen == 8
    assert "val_loss/elbo" in runner.logged_metrics


def test_half_precision_gets_half_precision_images():
    model = DCGAN(**TINY)
    stored = torch.randint(0, 256, (8, 1, 16, 16), dtype=torch.uint8)
    trainer(precision="bf16-true").fit(model, DataLoader(stored, batch_size=8))
    assert model.images_seen == 8


def test_the_warning_about_the_hook_is_the_one_that_is_filtered(tmp_path):
    runner = trainer(limit_train_batches=1, default_root_dir=tmp_path)
    warning_cache.clear()  # Lightning gives it once per process
    with pytest.warns(UserWarning, match=HOOK_WARNING):  # pytest resets the filters
        runner.fit(DCGAN(**TINY), ImageData("digits", root=str(tmp_path), batch_size=32))


def test_images_in_the_unit_interval_are_a_warning():
    with pytest.warns(UserWarning, match="scale those in \\[0, 1\\] by 2 x - 1"):
        trainer().fit(DCGAN(**TINY), DataLoader(torch.rand(8, 1, 16, 16), batch_size=8))


IMAGES = torch.zeros(4, 1, 16, 16)
LABELS = torch.tensor([0, 1, 2, 3])
BAD = {
    "another shape": (torch.zeros(4, 3, 16, 16), "shape (4, 3, 16, 16); the model takes (batch, 1, 16, 16)"),
    "no channels": (torch.zeros(4, 16, 16), "shape (4, 16, 16)"),
    "no images": (torch.zeros(0, 1, 16, 16), "shape (0, 1, 16, 16)"),
    "whole numbers": (IMAGES.long(), "images of torch.int64"),
    "a range": (IMAGES + 1.5, "images from 1.5 to 1.5; floats are in [-1, 1], or use uint8"),
    "nan": (IMAGES + float("nan"), "images from nan to nan"),
    "a dictionary": ({"image": IMAGES}, "a batch is a dict"),
    "text": ([IMAGES, "cat"], "a batch is a list of Tensor, str"),
    "three": ([IMAGES, LABELS, LABELS], "a batch has 3 tensors"),
    "no labels": (IMAGES, "learns from labels, and the batch has none"),
    "images as labels": ([IMAGES, IMAGES], "labels of shape (4, 1, 16, 16)"),
    "fewer labels": ([IMAGES, LABELS[:3]], "labels of shape (3,)"),
    "a label's range": ([IMAGES, LABELS + 7], "labels from 7 to 10; the classes are 0 to 9"),
    "labels of floats": ([IMAGES, LABELS.float()], "labels of torch.float32"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_batch_that_does_not_fit_is_one_line(name):
    batch, message = BAD[name]
    model = ConditionalGAN(num_classes=10, **TINY)
    with pytest.raises(InputError) as raised:
        to_batch(batch, model)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200


def test_the_trainer_passes_the_line_on():
    with pytest.raises(InputError, match="the model takes"):
        trainer().fit(DCGAN(**TINY), DataLoader(torch.zeros(4, 3, 16, 16), batch_size=4))


def test_an_unconditional_model_ignores_labels_of_any_kind():
    assert to_batch([IMAGES, torch.rand(4, 40)], DCGAN(**TINY)).labels is None


def test_a_translator_takes_inputs_and_images_and_nothing_else():
    model = next(case for case in CASES if case.model is Pix2Pix).build(1)
    assert isinstance(model, Translator)
    inputs, images = torch.rand(4, *model.input_shape), torch.rand(4, *model.image_shape)
    batch = to_batch((inputs, images), model)
    assert torch.equal(batch.images, images)
    assert torch.equal(batch.inputs, inputs)
    with pytest.raises(InputError, match="pairs \\(inputs, images\\)"):
        to_batch(images, model)
    with pytest.raises(InputError, match="inputs of shape"):
        to_batch((inputs[:, :, :8], images), model)
    with pytest.raises(InputError, match="4 inputs and 3 images"):
        to_batch((inputs, images[:3]), model)
    unpaired = next(case for case in CASES if case.model is CycleGAN).build()
    assert len(to_batch((inputs, images[:3]), unpaired).inputs) == 4
