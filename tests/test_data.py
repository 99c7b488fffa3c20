"""The data module: images, their order, and resuming."""

import pickle

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from lightning_gen.data import ImageData
from lightning_gen.data.loader import BatchLoader
from lightning_gen.errors import InputError
from lightning_gen.images import to_float, to_uint8
from lightning_gen.types import Batch, ImageSet, ImageSource

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


class Recorder(LightningModule):
    """Stores every batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.norm = torch.nn.BatchNorm1d(1)  # a buffer, which DDP synchronises in every forward
        self.trained: list[Tensor] = []
        self.validated: list[Batch] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.trained.append(batch.images.clone())
        return self.weight * batch.images.mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.validated.append(Batch(batch.images.clone(), batch.labels))
        images = float(len(batch.images))
        self.log("images", images, on_epoch=True, sync_dist=True, reduce_fx="sum")
        self.log("mean", batch.images.mean(), on_epoch=True, sync_dist=True, batch_size=len(batch.images))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def digits(tmp_path):
    def make(**options) -> ImageData:
        return ImageData(root=str(tmp_path / "data"), **{"batch_size": 400, **options})

    return make


def write_numbered_images(folder, num: int) -> None:
    """Write 2x2 grey images whose first two pixels encode their number."""
    folder.mkdir()
    for index in range(num):
        Image.fromarray(np.array([[index // 256, index % 256], [0, 0]], np.uint8)).save(folder / f"{index:05}.png")


def numbers(images: Tensor) -> list[int]:
    pixels = to_uint8(images).long()
    return (pixels[:, 0, 0, 0] * 256 + pixels[:, 0, 0, 1]).tolist()


def test_digits(digits):
    data = digits()
    assert isinstance(data, ImageSource)
    assert (data.image_shape, data.num_classes) == ((1, 16, 16), 10)
    train, test = data.image_set("train"), data.image_set("test")
    assert isinstance(train, ImageSet)
    assert (train.name, len(train), test.name, len(test)) == ("digits/train", 1437, "digits/test", 360)
    assert data.image_set("val").key == test.key != train.key
    assert np.bincount(test.labels).min() >= 34  # stratified
    assert train[:5].dtype == torch.uint8
    assert train[np.array([7, 3])].equal(train[3:8][[4, 0]])


def test_digits_at_size_8_equal_scikit_learns(digits):
    data = digits(image_size=8)
    images = torch.cat([data.image_set(split)[:] for split in ("train", "test")])
    from sklearn.datasets import load_digits

    expected = np.rint(load_digits().images * 255 / 16).astype(np.uint8).reshape(1797, 64)
    assert sorted(map(bytes, images.numpy().reshape(1797, 64))) == sorted(map(bytes, expected))


def test_uint8_round_trip_is_exact(digits):
    data = digits(eval_batch_size=100)
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.test_dataloader()]
    images = torch.cat([batch.images for batch in batches])
    assert images.dtype == torch.float32
    assert images.min() >= -1
    assert images.max() <= 1
    assert to_uint8(images).equal(data.image_set("test")[:])
    assert np.array_equal(torch.cat([batch.labels for batch in batches]), data.image_set("test").labels)


@pytest.mark.parametrize("cache", ["auto", "device", "memory", "disk"])
def test_every_cache_gives_the_same_batches(digits, cache):
    batches, expected = (list(digits(cache=name, seed=3).train_dataloader()) for name in (cache, "disk"))
    assert len(batches) == 3
    for batch, other in zip(batches, expected, strict=True):
        assert batch.images.equal(other.images)
        assert batch.labels.equal(other.labels)


def test_tensors_and_arrays_give_the_same_batches(digits):
    loader = digits(flip=True).train_dataloader()
    tensor = BatchLoader(torch.from_numpy(loader.images), loader.labels.numpy(), loader.sampler, loader.flip_seed)
    for batch, other in zip(loader, tensor, strict=True):
        assert all(map(torch.equal, batch[:3], other[:3]))


def test_labels_stay_with_their_images(digits):
    data = digits(image_size=8)
    train = data.image_set("train")
    label = {bytes(image): label for image, label in zip(train[:].numpy(), train.labels, strict=True)}
    for batch in data.train_dataloader():
        assert [label[bytes(image)] for image in batch.images.numpy()] == batch.labels.tolist()


def test_two_processes_validate_each_image_once(tmp_path):
    write_numbered_images(tmp_path / "images", 1003)
    data = ImageData("folder", str(tmp_path / "images"), image_size=2, holdout=0.999, batch_size=1, eval_batch_size=64)
    expected = data.image_set("val")[:]
    trainer = Trainer(devices=2, strategy="ddp_spawn", enable_checkpointing=False, **QUIET)
    (result,) = trainer.validate(Recorder(), data, verbose=False)
    assert result["images"] == len(expected) == 1002
    assert result["mean"] == pytest.approx(to_float(expected).mean().item(), abs=1e-6)


def test_epochs_differ_and_runs_agree(digits):
    def train() -> list[Tensor]:
        model = Recorder()
        Trainer(max_epochs=2, enable_checkpointing=False, limit_val_batches=0, **QUIET).fit(model, digits(seed=1))
        return model.trained

    first, second = train(), train()
    assert len(first) == 6
    assert all(map(torch.equal, first, second))
    assert not first[0].equal(first[3])


def test_overfitting_repeats_its_batches(digits):
    model = Recorder()
    trainer = Trainer(max_epochs=2, overfit_batches=2, enable_checkpointing=False, **QUIET)
    trainer.fit(model, digits())
    assert len(model.trained) == 4
    assert model.trained[0].equal(model.trained[2])


@pytest.mark.parametrize("limit", [{"max_steps": 7}, {"max_epochs": 3}])
def test_resumes_at_the_exact_batch(digits, tmp_path, limit):
    whole = Recorder()
    checkpoints = ModelCheckpoint(tmp_path / "saved", "{step}", every_n_train_steps=1, save_top_k=-1)
    options = {"limit_val_batches": 0, **limit, **QUIET}
    Trainer(callbacks=checkpoints, **options).fit(whole, digits(flip=True))
    for saved in (1, 3, 5):  # within an epoch of three batches, at its end, and within a later one
        resumed, path = Recorder(), tmp_path / "saved" / f"step={saved}.ckpt"
        Trainer(enable_checkpointing=False, **options).fit(
            resumed, digits(flip=True), ckpt_path=path, weights_only=True
        )
        assert len(resumed.trained) == len(whole.trained) - saved
        assert all(map(torch.equal, resumed.trained, whole.trained[saved:]))


def test_resumes_after_an_epoch_with_validation(digits, tmp_path):
    whole, resumed = Recorder(), Recorder()
    Trainer(callbacks=ModelCheckpoint(tmp_path / "saved", "{epoch}", save_top_k=-1), max_epochs=3, **QUIET).fit(
        whole, digits()
    )
    trainer = Trainer(max_epochs=3, enable_checkpointing=False, **QUIET)
    trainer.fit(resumed, digits(), ckpt_path=tmp_path / "saved" / "epoch=0.ckpt")
    assert all(map(torch.equal, resumed.trained, whole.trained[3:]))
    assert len(resumed.trained) == 6


def test_a_loader_resumes_without_lightning(digits):
    whole = list(digits(batch_size=100).train_dataloader())
    loader = digits(batch_size=100).train_dataloader()
    iterator = iter(loader)
    for _ in range(5):
        next(iterator)
    other = digits(batch_size=100).train_dataloader()
    other.load_state_dict(loader.state_dict())
    assert other.state_dict() == loader.state_dict()
    assert all(a.images.equal(b.images) for a, b in zip(other, whole[5:], strict=True))
    assert len(list(other)) == 14  # the next epoch is complete


def test_resuming_another_order_warns(digits):
    state = digits().train_dataloader().state_dict()
    with pytest.warns(UserWarning, match="batch size"):
        digits(batch_size=100).train_dataloader().load_state_dict(state)


def test_flips_are_random_reproducible_and_exact(digits):
    def images(**options) -> list[Tensor]:
        data = digits(seed=0, **options)
        return [data.on_after_batch_transfer(batch, 0).images for batch in data.train_dataloader()]

    plain, flipped, again = images(), images(flip=True), images(flip=True)
    assert all(map(torch.equal, flipped, again))
    unchanged = torch.cat([(a == b).all((1, 2, 3)) for a, b in zip(plain, flipped, strict=True)])
    mirrored = torch.cat([(a.flip(-1) == b).all((1, 2, 3)) for a, b in zip(plain, flipped, strict=True)])
    assert (unchanged | mirrored).all()
    assert 0.4 < mirrored.float().mean() < 0.6


def test_validation_never_flips(digits):
    model = Recorder()
    data = digits(flip=True, eval_batch_size=100)
    trainer = Trainer(enable_checkpointing=False, **QUIET)
    trainer.validate(model, data, verbose=False)
    first, model.validated = model.validated, []
    trainer.validate(model, data, verbose=False)
    assert all(a.images.equal(b.images) for a, b in zip(first, model.validated, strict=True))
    assert to_uint8(torch.cat([batch.images for batch in first])).equal(data.image_set("val")[:])


def test_static_binarisation_is_fixed_with_the_grey_values_as_probabilities(digits):
    grey, data = digits(), digits(binarize="static")
    images, again = data.image_set("train"), digits(binarize="static").image_set("train")
    assert images.name == "digits/train-binarized"
    assert images.key != grey.image_set("train").key
    assert set(images[:].unique().tolist()) == {0, 255}
    assert images[:].equal(again[:])
    # the standard deviation of the mean of n samples is at most 1/2 / sqrt(n)
    error = (images[:].float().mean(0) - grey.image_set("train")[:].float().mean(0)).abs() / 255
    assert error.max() < 5 * 0.5 / len(images) ** 0.5
    assert not images[:].equal(digits(binarize="static").image_set("test")[:][: len(images)])
    model = Recorder()
    Trainer(max_epochs=2, num_sanity_val_steps=0, enable_checkpointing=False, **QUIET).fit(model, data)
    stored = {image.numpy().tobytes() for image in to_float(images[:])}
    assert all(image.numpy().tobytes() in stored for batch in model.trained for image in batch)


def test_dynamic_binarisation_differs_in_each_epoch_and_is_reproducible(digits):
    def batches(epoch: int, **options) -> list[Tensor]:
        data = digits(binarize="dynamic", seed=3, **options)
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        return [data.on_after_batch_transfer(batch, 0).images for batch in loader]

    first = torch.cat(batches(0))
    assert set(first.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(first, torch.cat(batches(0)))
    grey = digits(seed=3)
    loader = grey.train_dataloader()
    greys = torch.cat([grey.on_after_batch_transfer(batch, 0).images for batch in loader])  # in the same order
    changed = []
    for seed in (1, 2):
        loader.sampler.set_epoch(0)
        data = digits(binarize="dynamic", seed=3)
        again = data.train_dataloader()
        again.binarize_seed = seed
        changed.append(torch.cat([data.on_after_batch_transfer(batch, 0).images for batch in again]))
    assert not torch.equal(*changed)
    mean = torch.stack([first, *changed]).mean(0)
    assert (mean - greys).abs().mean() < (first - greys).abs().mean()
    held_out = digits(binarize="dynamic")
    fixed = [held_out.on_after_batch_transfer(batch, 0).images for _ in range(2) for batch in held_out.val_dataloader()]
    assert torch.equal(fixed[0], fixed[len(fixed) // 2])
    assert torch.equal(torch.cat(fixed[: len(fixed) // 2]), to_float(held_out.image_set("val")[:]))


def test_left_out_classes_are_removed_from_training_and_validation_only(digits):
    data = digits(leave_out=(3, 7))
    for split in ("train", "val"):
        assert {*data.image_set(split).labels.tolist()} == {0, 1, 2, 4, 5, 6, 8, 9}
    assert {*data.image_set("test").labels.tolist()} == {*range(10)}
    assert data.num_classes == 10
    whole = digits().image_set("train")
    remaining = np.flatnonzero(~np.isin(whole.labels, (3, 7)))
    assert data.image_set("train")[:].equal(whole[remaining])
    with pytest.raises(InputError, match="there is no class 10, only 0 to 9"):
        digits(leave_out=(10,)).image_set("train")
    with pytest.raises(InputError, match="does not apply to stacked_mnist"):
        digits(name="stacked_mnist", leave_out=(3,))
    with pytest.raises(InputError, match="leaves no image"):
        digits(leave_out=tuple(range(10))).image_set("train")


def test_batches_have_the_trainers_precision(digits):
    model = Recorder()
    Trainer(max_steps=1, precision="bf16-true", enable_checkpointing=False, limit_val_batches=0, **QUIET).fit(
        model, digits()
    )
    assert model.trained[0].dtype == torch.bfloat16


def test_seed_everything_is_the_default_seed(digits, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    assert digits().seed == 11
    assert digits(seed=4).seed == 4


def test_str_is_one_line(digits):
    assert str(digits()).startswith("ImageData('digits', ")


def test_pickles_without_its_pixels(digits):
    data = digits()
    data.image_set("train")[:1]
    assert len(pickle.dumps(data)) < 50_000
    assert pickle.loads(pickle.dumps(data)).image_set("train")[:].equal(data.image_set("train")[:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "data.batch_size is 0"),
        ({"eval_batch_size": -1}, "data.eval_batch_size is -1"),
        ({"image_size": 0}, "data.image_size is 0"),
        ({"seed": -1}, "data.seed is -1"),
        ({"holdout": 1.0}, "data.holdout is 1.0"),
    ],
)
def test_bad_options(digits, options, message):
    with pytest.raises(InputError, match=message) as caught:
        digits(**options)
    assert "\n" not in str(caught.value)


def test_unknown_split(digits):
    with pytest.raises(InputError, match="'dev'; it must be one of train, val, test"):
        digits().image_set("dev")


def test_fewer_images_than_a_batch(digits):
    with pytest.raises(InputError, match=r"1437 training images do not fill .* data.batch_size to 1437 or less"):
        digits(batch_size=2000).train_dataloader()
    (batch,) = digits(batch_size=2000, drop_last=False).train_dataloader()
    assert len(batch.images) == 1437


def test_command_line_options():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ImageData, "data")
    options = parser.parse_args(["--data.name", "cifar10", "--data.flip", "true", "--data.image_size", "64"]).data
    assert (options.name, options.flip, options.image_size, options.cache) == ("cifar10", True, 64, "auto")
    with pytest.raises(Exception, match=r"data\.cache"):
        parser.parse_args(["--data.cache", "gpu"])
    text = parser.format_help()
    assert text.count("--data.") >= 13
    assert "mirror random training images" in text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_auto_caches_the_images_on_the_device(digits):
    model, data = Recorder(), digits(flip=True)
    trainer = Trainer(max_steps=2, enable_checkpointing=False, **{**QUIET, "accelerator": "gpu", "devices": 1})
    trainer.fit(model, data)
    assert trainer.train_dataloader.images.device.type == "cuda"
    assert model.trained[0].device.type == "cuda"
