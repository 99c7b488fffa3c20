"""``features: auto``: each of its outcomes, in the callback and in evaluate."""

import json
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.datasets import load_sample_images
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

from lightning_gen.callbacks import fidelity as fidelity_module
from lightning_gen.callbacks.checkpoints import BestCheckpoint
from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.cli import main
from lightning_gen.cli import scoring_options as scoring_module
from lightning_gen.errors import InputError
from lightning_gen.evaluation import choose_extractor
from lightning_gen.images import save_png
from lightning_gen.networks.efficientnet import EFFICIENTNET, PACKAGES
from tests.image_files import write_images
from tests.test_cli import DIGITS, TINY, lines_of
from tests.test_evaluation import Images, digit_sets
from tests.test_fidelity_callback import Model, fit

INSTALL = 'pip install "lightning_gen[imagenet]"'


@pytest.fixture(autouse=True)
def torch_home(tmp_path, monkeypatch) -> Path:
    """An empty cache of torch."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch"


@pytest.fixture(params=[True, False], ids=["installed", "not installed"])
def installed(request, monkeypatch) -> bool:
    """Whether the packages of EfficientNet-Lite0 seem to be installed."""
    monkeypatch.setattr("lightning_gen.evaluation.extractors.is_installed", lambda: request.param)
    return request.param


@pytest.fixture
def _not_installed(monkeypatch):
    for package in PACKAGES:
        monkeypatch.setitem(sys.modules, package, None)


def cached_weights(torch_home: Path) -> Path:
    """Write a file in the place of the downloaded weights of Inception."""
    path = torch_home / "hub" / "checkpoints" / URL_INCEPTION_V3.rsplit("/", 1)[1]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    return path


def labelled(per_class: int, num_classes: int = 2) -> Images:
    labels = np.repeat(np.arange(num_classes), per_class)
    return Images("few/train", torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8), labels)


class Stacked(Images):
    """Images of 1,000 classes, each of three images of ten classes."""

    stacked = 3

    def __init__(self, per_class):
        super().__init__("stacked/train", torch.zeros(1000, 3, 8, 8, dtype=torch.uint8), np.arange(1000))
        self.parts = labelled(per_class, 10)


@pytest.mark.parametrize(
    ("train", "enough"),
    [
        (digit_sets()[0], True),
        (labelled(20), True),
        (labelled(19), False),
        (labelled(4), False),
        (labelled(100, 1), False),
        (Images("none", torch.zeros(50, 1, 8, 8)), False),
        (Images("unknown", torch.zeros(50, 1, 8, 8), np.full(50, -1)), False),
        (Stacked(20), True),
        (Stacked(19), False),
        (None, False),
    ],
)
def test_the_classifier_needs_twenty_images_per_class(train, enough, installed):
    assert choose_extractor(train) == ("classifier" if enough else EFFICIENTNET if installed else None)


def test_inception_is_chosen_where_its_weights_are_present(torch_home, installed):
    few = labelled(4)
    assert choose_extractor(few, torch_home / "file.pth") == "inception"
    assert choose_extractor(few) == (EFFICIENTNET if installed else None)
    cached_weights(torch_home)
    assert choose_extractor(few) == "inception"
    assert choose_extractor(labelled(20)) == "classifier"


# ---- in the callback


def chosen(train: Images, monkeypatch, **options) -> str | None:
    """The extractor that the callback creates at the start of training."""
    created: list[str] = []
    monkeypatch.setattr(fidelity_module, "make_extractor", lambda name, **_: created.append(name))
    monkeypatch.setattr(fidelity_module, "check_metrics", lambda *_, **options: None)
    monkeypatch.setattr(fidelity_module, "image_source", lambda _: SimpleNamespace(image_set=lambda _: train))
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    Fidelity(**options).on_fit_start(trainer, Model())
    return created[0] if created else None


def test_the_callback_chooses_what_needs_no_download(monkeypatch, torch_home, installed):
    few = labelled(4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert chosen(digit_sets()[0], monkeypatch) == "classifier"
        assert chosen(few, monkeypatch) == (EFFICIENTNET if installed else None)
        assert chosen(few, monkeypatch, features="vgg16") == "vgg16"
        assert chosen(few, monkeypatch, features=None) is None
        assert chosen(few, monkeypatch, inception_weights=torch_home / "file.pth") == "inception"
        cached_weights(torch_home)
        assert chosen(few, monkeypatch) == "inception"
    messages = [str(warning.message) for warning in caught if "not scored" in str(warning.message)]
    assert len(messages) == (0 if installed else 1)
    for message in messages:
        assert all(word in message for word in (INSTALL, "inception_weights", "fidelity.features null"))
        assert "\n" not in message


@pytest.mark.usefixtures("_not_installed")
def test_training_without_an_extractor_saves_no_best_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_fidelity_callback.digit_sets", lambda: [labelled(4, 65)] * 2)
    fidelity, best = Fidelity(num_samples=50), BestCheckpoint()
    with pytest.warns(UserWarning, match="the model is not scored: no extractor is available"):
        trainer, _ = fit(tmp_path, Model, best, fidelity, max_epochs=2)
    assert fidelity.extractor is None
    assert best.best_model_path == ""
    assert not (tmp_path / "evaluation").exists()
    assert not any(name.startswith("fidelity/") for name in trainer.callback_metrics)


# ---- in evaluate


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three classes of four images."""
    return write_images(tmp_path / "data", [f"{c}/{i}.png" for c in "abc" for i in range(4)], (16, 16, 3))


@pytest.fixture
def recorded(monkeypatch) -> list[str]:
    """The names of the extractors that evaluate creates; each is refused."""
    names: list[str] = []

    def record(name, **_):
        names.append(name)
        raise InputError("stopped")

    monkeypatch.setattr(scoring_module, "make_extractor", record)
    return names


@pytest.mark.usefixtures("_not_installed")
def test_a_folder_of_few_images_per_class_trains_without_a_score_and_evaluate_names_the_choices(
    folder, tmp_path, capsys, recorded, torch_home, monkeypatch
):
    options = [*TINY, f"--runs={tmp_path / 'runs'}", "--name=few", "--data.name=folder", f"--data.root={folder}"]
    options += ["--data.image_size=16", "--data.batch_size=4", "--trainer.max_epochs=1"]
    with pytest.warns(UserWarning, match="the model is not scored"):
        assert main(["fit", "--config", DIGITS, *options]) == 0
    run = tmp_path / "runs" / "few"
    assert not list(run.rglob("best.ckpt"))
    assert list(run.rglob("last.ckpt"))
    capsys.readouterr()

    evaluate = ["evaluate", "--ckpt", str(run), "--num_samples", "8", "--device", "cpu"]
    assert main(evaluate) == 2
    line = lines_of(capsys)
    assert all(word in line for word in (INSTALL, "inception_weights", "choose inception")), line
    assert recorded == []
    monkeypatch.setattr("lightning_gen.evaluation.extractors.is_installed", lambda: True)
    assert main(evaluate) == 2
    cached_weights(torch_home)
    assert main(evaluate) == 2
    assert recorded == [EFFICIENTNET, "inception"]


def test_evaluate_of_folders_chooses_what_needs_no_download(folder, capsys, recorded, torch_home, installed):
    evaluate = ["evaluate", "--generated", str(folder), "--reference", str(folder), "--device", "cpu"]
    assert main(evaluate) == 2
    assert installed or INSTALL in lines_of(capsys)
    assert main([*evaluate, "--inception_weights", str(torch_home / "file.pth")]) == 2
    assert recorded == [EFFICIENTNET] * installed + ["inception"]


def test_folders_of_photographs_are_scored_without_a_download(tmp_path):
    for package in PACKAGES:
        pytest.importorskip(package)
    for name, image in zip(("china", "flower"), load_sample_images().images, strict=True):
        for index in range(6):
            corner = torch.from_numpy(image[60 * index : 60 * index + 60, :60].copy()).permute(2, 0, 1)
            save_png(corner, tmp_path / name / f"{index}.png")
    out = tmp_path / "card.json"
    folders = ["--generated", str(tmp_path / "china"), "--reference", str(tmp_path / "flower")]
    assert main(["evaluate", *folders, "--metrics", "prc", "--device", "cpu", "--out", str(out)]) == 0
    card = json.loads(out.read_text())
    assert card["protocol"]["prc"] == "prc6_all@efficientnet_lite0"
    assert card["resizer"] == "bicubic, antialiased, to 224x224"
