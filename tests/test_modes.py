"""Stacked MNIST and its modes: data, metric, classifier, callback and command."""

import json
from itertools import product
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule
from rich.console import Console

from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.callbacks.grids import SampleGrid
from lightning_gen.cli import main
from lightning_gen.data import ImageData, stacking
from lightning_gen.data.loader import BatchLoader, BatchOrder
from lightning_gen.errors import InputError
from lightning_gen.evaluation import UniformNoise, make_extractor, metrics, protocol_name, score_images, score_samples
from lightning_gen.images import to_float
from lightning_gen.types import ImageSet, StackedSet
from tests.helpers import trainer
from tests.test_evaluation import Generator, Images, Linear
from tests.test_fidelity_callback import Model, fit

ROOT = Path(__file__).parent.parent
NUM = {"train": 60, "test": 30}


class OtherClasses(Linear):
    """Its classes are not the dataset's."""

    own_classes = False


def write_digits(root: Path, part: str, num: int, seed: int) -> np.ndarray:
    """Write files in MNIST's format: noise whose brightness increases with the class."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    labels = np.arange(num, dtype=np.uint8) % 10
    images = np.random.default_rng(seed).integers(0, 30, (num, 28, 28), np.uint8) + 25 * labels[:, None, None]
    header = b"".join(value.to_bytes(4, "big") for value in (0x803, *images.shape))
    (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    header = b"".join(value.to_bytes(4, "big") for value in (0x801, num))
    (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return images


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """A data root with 60 training and 30 test digits."""
    root = tmp_path_factory.mktemp("digits")
    for seed, (part, num) in enumerate({"train": NUM["train"], "t10k": NUM["test"]}.items()):
        write_digits(root, part, num, seed)
    return root


def stacked(root: Path, **options) -> ImageData:
    return ImageData("stacked_mnist", str(root), **options)


# -- the data


def test_an_image_stacks_three_digits_of_its_split_and_its_label_encodes_them(digits):
    data, mnist = stacked(digits), ImageData("mnist", str(digits))
    assert (data.image_shape, data.num_classes) == ((3, 32, 32), 1000)
    for split, num in stacking.STACKED_SIZES.items():
        images, parts = data.image_set(split), mnist.image_set(split)
        assert isinstance(images, ImageSet)
        assert isinstance(images, StackedSet)
        assert (images.name, len(images), len(images.labels)) == (f"stacked_mnist/{split}", num, num)
        assert images.parts.key == parts.key  # MNIST's array, decoded once for both
        label_of = {bytes(image): label for image, label in zip(parts[:].numpy(), parts.labels, strict=True)}
        first = images[:50].numpy()
        assert [[label_of[bytes(channel)] for channel in image] for image in first] == [
            [int(digit) for digit in f"{label:03}"] for label in images.labels[:50]
        ]
        assert images[np.array([7, 3])].equal(images[3:8][[4, 0]])
        assert images[:0].shape == (0, 3, 32, 32)
    assert data.image_set("val").key == data.image_set("test").key
    assert len(np.unique(data.image_set("train").labels)) == 1000
    assert not isinstance(mnist.image_set("train"), StackedSet)


def test_stacks_are_deterministic_and_keyed_by_content(digits, tmp_path):
    first, again = (stacked(digits, seed=seed).image_set("train") for seed in (0, 1))
    assert first.key == again.key
    assert np.array_equal(first.part_indices, again.part_indices)
    assert first.key != stacked(digits).image_set("test").key
    assert first.key != stacked(digits, image_size=28).image_set("train").key
    assert abs(np.corrcoef(first.part_indices.T) - np.eye(3)).max() < 0.02  # channels are independent
    for part, num in {"train": NUM["train"], "t10k": NUM["test"]}.items():
        write_digits(tmp_path, part, num, seed=9)
    changed = stacked(tmp_path).image_set("train")
    assert changed.key != first.key
    assert np.array_equal(changed.labels, first.labels)


@pytest.mark.parametrize("tensor", [False, True])
def test_batches_are_the_images_of_the_set(digits, tensor):
    data = stacked(digits, batch_size=64, image_size=28)
    test = data.image_set("test")
    loader = data.val_dataloader()
    if tensor:  # as gathered on an accelerator
        loader = BatchLoader(test.parts[:], test.labels, BatchOrder(len(test), 64), part_indices=test.part_indices)
    batches = [batch for batch, _ in zip(loader, range(3), strict=False)]
    images, labels = torch.cat([batch.images for batch in batches]), torch.cat([batch.labels for batch in batches])
    assert images.equal(test[: len(images)])
    assert labels.tolist() == test.labels[: len(labels)].tolist()
    ready = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert ready.images.shape == (64, 3, 28, 28)


def test_invalid_stacked_data_raises_a_one_line_error(tmp_path):
    with pytest.raises(InputError, match=r"data.channels is 1; stacked_mnist stacks 3 images"):
        stacked(tmp_path, channels=1)
    assert stacked(tmp_path, channels=3).image_shape == (3, 32, 32)
    with pytest.raises(InputError, match=r"mnist is missing .*t10k-labels-idx1-ubyte.*data.download to true"):
        stacked(tmp_path).image_set("train")


# -- the metric


def class_logits(*counts: int) -> torch.Tensor:
    """Logits of images with the given number of images per class."""
    return torch.eye(len(counts))[torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))]


def test_modes_against_closed_forms():
    assert metrics.modes(class_logits(7, 0, 0, 0)) == {"modes": 1, "modes_kl": pytest.approx(log(4))}
    assert metrics.modes(class_logits(*[3] * 1000)) == {"modes": 1000, "modes_kl": pytest.approx(0, abs=1e-12)}
    entropy = -(0.5 * log(0.5) + 0.3 * log(0.3) + 0.2 * log(0.2))
    assert metrics.modes(class_logits(5, 0, 3, 2)) == {"modes": 3, "modes_kl": pytest.approx(log(4) - entropy)}
    uniform, given = torch.full((4,), 0.25), torch.tensor([0.1, 0.2, 0.3, 0.4])
    truth = torch.distributions.kl_divergence(*(torch.distributions.Categorical(p) for p in (given, uniform)))
    assert metrics.modes(class_logits(1, 2, 3, 4))["modes_kl"] == pytest.approx(truth.item(), rel=1e-5)


def test_modes_require_the_datasets_classes_and_are_flagged_for_few_images():
    images = Images("x/train", torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8))

    with pytest.raises(InputError, match="modes counts the classes of the dataset, which linear does not know"):
        score_images(images, images, OtherClasses(), metrics=("modes",))
    assert score_images(images, images, Linear(), metrics=("isc", "modes")).num_modes == 4
    assert "modes" in score_images(images, images, Linear(), metrics=("modes",)).flags
    card = score_samples(Generator(), images, Linear(), metrics=("modes",), num_samples=80)
    assert not card.flags
    assert card.protocol == {"modes": "modes80_train@linear"}
    assert score_images(images, images, Linear()).num_modes is None


def test_modes_are_named_by_their_protocol():
    assert protocol_name("modes", 26_000, "train", "classifier") == "modes26k_train@classifier"


def test_modes_and_inception_score_need_the_generated_images_only():
    images = Images("x/train", torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8))
    extractor = Linear()
    score_samples(Generator(), images, extractor, metrics=("isc", "modes"), num_samples=80)
    assert extractor.calls == 80


# -- the classifier of stacked images


def test_the_stacked_classifier_applies_mnists_to_each_channel(digits):
    data, mnist = stacked(digits), ImageData("mnist", str(digits))
    extractor = make_extractor("classifier", labelled=(data.image_set("train"), data.image_set("test")))
    one = make_extractor("classifier", labelled=(mnist.image_set("train"), mnist.image_set("test")))
    assert (extractor.weights_hash, extractor.accuracy) == (one.weights_hash, one.accuracy)
    assert (extractor.width, extractor.classes) == (192, 1000)
    images = torch.cat([data.image_set("test")[:40], torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8)])
    output, per_channel = extractor(images), [one(images[:, channel : channel + 1]) for channel in range(3)]
    assert torch.allclose(output.vectors, torch.cat([part.vectors for part in per_channel], 1), rtol=1e-4, atol=1e-4)
    logs = torch.stack([part.logits.log_softmax(1) for part in per_channel])
    for label in map(torch.tensor, product(range(10), repeat=3)):
        joint = logs[[0, 1, 2], :, label].sum(0)
        place = int(label @ torch.tensor([100, 10, 1]))
        assert torch.allclose(output.logits[:, place], joint, rtol=1e-4, atol=1e-4)
    digits_predicted = logs.argmax(2)
    assert torch.equal(output.logits.argmax(1), digits_predicted.T @ torch.tensor([100, 10, 1]))
    assert torch.allclose(output.logits.exp().sum(1), torch.ones(80), atol=1e-4)  # a distribution over the modes
    assert "the test accuracy is of one" in extractor.notes(3)[0]
    with pytest.raises(InputError, match=r"cannot see \(1, 32, 32\)"):
        extractor(images[:, :1])


def test_real_images_cover_the_modes_and_noise_does_not(digits):
    data = stacked(digits)
    train, test = data.image_set("train"), data.image_set("test")
    extractor = make_extractor("classifier", labelled=(train, test))
    assert extractor.accuracy == 1
    subset = Images("subset/test", test[:5000])
    card = score_images(subset, train, extractor, metrics=("modes",))
    counts = np.bincount(test.labels[:5000], minlength=1000)
    share = counts[counts > 0] / 5000
    assert card.scores == {"modes": (counts > 0).sum(), "modes_kl": pytest.approx((share * np.log(share * 1000)).sum())}
    assert "a covered mode may be missed" in card.flags["modes"]
    console = Console(record=True, width=250)
    console.print(card.table())
    text = console.export_text()
    assert f"{(counts > 0).sum()} of 1,000" in text
    assert text.count("modes5k_train@classifier") == 2  # in the rows of the modes and of the KL
    noise = score_samples(UniformNoise((3, 32, 32)), train, extractor, metrics=("modes",), num_samples=100)
    assert noise.scores["modes"] < 20


# -- in a run


class Thousand(LightningModule):
    """Samples constant images of value class // 100."""

    num_classes = 1000

    def sample(self, num, *, labels=None, generator=None):
        assert labels.max() < 1000
        return to_float((labels // 100).to(torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4))


def test_a_grid_of_many_classes_shows_classes_from_every_hundred():
    cells = SampleGrid(num=100).draw(trainer(), Thousand())
    assert cells.images.shape == (100, 3, 4, 4)
    assert cells.columns == 10
    assert cells.images[::10, 0, 0, 0].tolist() == list(range(10))


def test_the_callback_counts_modes_and_rejects_them_before_training(tmp_path, monkeypatch):
    run, _ = fit(tmp_path / "a", Model, Fidelity(num_samples=200, metrics=("modes", "fid")), max_epochs=1)
    logged = run.callback_metrics
    assert {"fidelity/modes", "fidelity/modes_kl", "fidelity/fid", "fidelity/modes200_train_classifier"} <= set(logged)
    assert 1 <= logged["fidelity/modes"] <= 10
    monkeypatch.setattr("lightning_gen.callbacks.fidelity.make_extractor", lambda *_, **__: OtherClasses())
    with pytest.raises(InputError, match="modes counts the classes"):
        fit(tmp_path / "b", Model, Fidelity(metrics=("modes",)), max_epochs=1)
    assert not (tmp_path / "b" / "evaluation").exists()


def test_evaluate_counts_the_modes_of_a_run(digits, tmp_path, monkeypatch, capsys):
    for split, num in {"train": 300, "test": 200}.items():
        monkeypatch.setitem(stacking.STACKED_SIZES, split, num)
    options = [f"--runs={tmp_path}", f"--data.root={digits}", "--data.name=stacked_mnist", "--name=stacked"]
    options += ["--model.width=4", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--fidelity.features=null"]
    options += ["--trainer.enable_progress_bar=false", "--last.every_n_epochs=1"]
    assert main(["fit", "--config", str(ROOT / "configs" / "dcgan_digits.yaml"), *options]) == 0
    run, out = str(tmp_path / "stacked"), tmp_path / "card.json"
    scoring = ["--features", "classifier", "--num_samples", "210", "--device", "cpu", "--out", str(out)]
    assert main(["evaluate", "--ckpt", run, "--metrics", "modes", "fid", *scoring]) == 0
    card = json.loads(out.read_text())
    assert set(card["scores"]) == {"modes", "modes_kl", "fid"}
    assert (card["num_modes"], card["extractor"], card["image_shape"]) == (1000, "classifier", [3, 16, 16])
    assert card["protocol"] == {"modes": "modes210_train@classifier", "fid": "fid210_train@classifier"}
    assert 1 <= card["scores"]["modes"] <= 210
    assert 0 <= card["scores"]["modes_kl"] <= log(1000) + 1e-9
    assert "of 1,000" in capsys.readouterr().out
    assert main(["evaluate", "--ckpt", run, "--metrics", "mode", *scoring]) == 2
    assert "modes" in capsys.readouterr().err
