"""Exported models: the folder, the round trip of every model, damaged files, and the Hub without a network."""

import json
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import pytorch_lightning as pl
import torch
import yaml
from huggingface_hub.hf_api import HfApi
from safetensors.torch import load_file, save_file

from lightning_gen.api import load, score
from lightning_gen.cli import main
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.hashing import file_hash
from lightning_gen.models import DCGAN, VAE
from lightning_gen.models.base import GenerativeModule
from lightning_gen.models.exported import CONFIG, MAX_CONFIG_BYTES, WEIGHTS
from tests.cases import CASES
from tests.helpers import trainer
from tests.test_models import output


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def run(place, shared_cache) -> Path:
    """A run of two batches with a last checkpoint, two score cards of it and one of another checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_GEN_CACHE", str(shared_cache))
        pl.seed_everything(0)
        data = ImageData("digits", root=str(place / "data"), batch_size=32)
        model = DCGAN(data.image_shape, width=4, latent_dim=6, ema_half_life=50.0)
        runner = trainer(limit_train_batches=2)
        runner.fit(model, data)
        folder = place / "runs" / "gan" / "1"
        checkpoint = folder / "checkpoints" / "last.ckpt"
        runner.save_checkpoint(checkpoint)
        options = {"num_samples": 40, "band_draws": 0}
        score(checkpoint, metrics=["fid", "prc"], draws=2, **options, out=folder / "evaluation" / "last_ema.json")
        card = json.loads((folder / "evaluation" / "last_ema.json").read_text())
        for name, changes in (
            ("of_training", {"checkpoint": None, "checkpoint_hash": None}),
            ("of_another", {"checkpoint_hash": "0" * 64}),
            ("raw", {"weights": "raw"}),
        ):
            (folder / "evaluation" / f"{name}.json").write_text(json.dumps(card | changes))
        (folder / "evaluation" / "broken.json").write_text("{")
    return folder


@pytest.fixture(scope="module")
def exported(place, run) -> Path:
    folder = place / "exported"
    assert main(["export", "--ckpt", str(run), "--to", str(folder), "--onnx"]) == 0
    return folder


# ---- the folder


def test_the_folder_has_everything_and_no_path_of_this_machine(exported, run, place):
    files = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert files == {
        "README.md",
        CONFIG,
        WEIGHTS,
        "model.onnx",
        "samples/grid.png",
        *(f"samples/{i:06d}.png" for i in range(8)),
        "scores/last_ema.json",
        "scores/of_training.json",
    }
    config = json.loads((exported / CONFIG).read_text())
    assert config["class"] == "lightning_gen.models.gans.dcgan.DCGAN"
    assert config["hyper_parameters"]["latent_dim"] == 6
    assert config["weights"] == "ema"
    assert config["progress"]["images_seen"] == 64
    assert config["data"]["name"] == "digits"
    assert config["versions"]["torch"]
    assert str(place) not in (exported / CONFIG).read_text() + (exported / "README.md").read_text()
    assert not [path for path in exported.parent.iterdir() if path.name.startswith(".exported")]


def test_the_weights_are_the_averaged_network_and_nothing_else(exported, run):
    model = load(run)
    assert model.ema is not None
    saved = load_file(exported / WEIGHTS)
    assert saved.keys() == model.ema.module.state_dict().keys()
    assert all(torch.equal(value, saved[name]) for name, value in model.ema.module.state_dict().items())


def test_the_model_card_is_one_that_the_hub_reads(exported):
    text = (exported / "README.md").read_text()
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert metadata["library_name"] == "lightning_gen"
    assert metadata["pipeline_tag"] == "unconditional-image-generation"
    assert metadata["metrics"] == ["fid", "precision", "recall", "f_score"]
    assert "license" not in metadata  # the user's choice
    card = huggingface_hub.ModelCard.load(exported / "README.md")
    [first, *_] = card.data.eval_results
    assert (first.metric_type, first.metric_name) == ("fid", "fid40_train@classifier")
    assert first.dataset_name == "digits/train"
    assert "from lightning_gen import load" in text
    assert " ± " in text
    assert "![Samples of seed 0](samples/grid.png)" in text


def test_onnx_is_checked_at_two_batch_sizes(exported, capsys):
    onnx = json.loads((exported / CONFIG).read_text())["onnx"]
    assert onnx["part"] == "generator"
    assert onnx["inputs"] == {"latents": ["batch", 6]}
    assert set(onnx["differences"]) == {"1", "5"}
    assert onnx["largest_difference"] == max(onnx["differences"].values()) < 1e-4


def test_the_commands_take_the_folder(exported, place, capsys):
    assert main(["sample", "--ckpt", str(exported), "--out", str(place / "samples"), "--num", "2"]) == 0
    options = ["--root", str(place / "data"), "--num_samples", "40", "--band_draws", "0"]
    assert main(["evaluate", "--ckpt", str(exported), "--out", str(place / "card.json"), *options]) == 0
    again = json.loads((place / "card.json").read_text())
    card = score(exported, ImageData("digits", root=str(place / "data")), num_samples=40, band_draws=0)
    assert again["scores"] == card.scores
    assert again["checkpoint_hash"] == file_hash(exported / WEIGHTS)
    assert again["images_seen"] == 64


def test_raw_exports_the_trained_weights(run, place):
    assert main(["export", "--ckpt", str(run), "--to", str(place / "raw"), "--raw"]) == 0
    model = load(place / "raw")
    assert torch.equal(output(model), output(load(run, raw=True)))
    assert not model.use_ema
    assert [path.name for path in (place / "raw" / "scores").iterdir()] == ["raw.json"]


def test_averaged_weights_cannot_give_raw_ones(exported):
    with pytest.raises(InputError, match="has averaged weights only"):
        load(exported, raw=True)


def test_training_does_not_resume_from_an_exported_model(exported, place, capsys):
    options = ["--model=DCGAN", "--data.batch_size=256", "--wandb.mode=disabled", f"--runs={place / 'resumed'}"]
    assert main(["fit", *options, f"--data.root={place / 'data'}", f"--ckpt_path={exported}"]) == 2
    assert f"{exported} is an exported model, without the state of training" in capsys.readouterr().err


@pytest.mark.parametrize("case", ["not empty", "a file", "exported", "seed", "nothing"])
def test_export_refuses_in_one_line(case, run, exported, place, capsys):
    (place / "file").write_text("")
    options = {
        "not empty": ["--ckpt", str(run), "--to", str(exported)],
        "a file": ["--ckpt", str(run), "--to", str(place / "file")],
        "exported": ["--ckpt", str(exported), "--to", str(place / "again")],
        "seed": ["--ckpt", str(run), "--to", str(place / "again"), "--seed", "-1"],
        "nothing": ["--ckpt", str(place / "none"), "--to", str(place / "again")],
    }[case]
    before = {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()}
    assert main(["export", *options]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    expected = {"not empty": "another folder with --to", "a file": "with --to", "exported": "is exported already"}
    assert expected.get(case, "") in error
    assert not (place / "again").exists()
    assert before == {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()}


# ---- every model


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model.__name__)
def test_every_model_comes_back_from_its_folder(case, tmp_path):
    pl.seed_everything(1)
    model = case.build(0).eval()
    model.images_seen = 123_456
    model.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: lightning_gen\n")
    assert f"# {case.model.__name__}" in text
    again = case.model.from_pretrained(tmp_path)
    assert type(again) is case.model
    assert again.images_seen == 123_456
    assert dict(again.hparams) == {
        name: None if name in ("init_from", "teacher", "perceptual_weights") else value
        for name, value in model.hparams.items()
    }
    pl.seed_everything(2)
    images = output(model)
    pl.seed_everything(2)
    assert torch.equal(images, output(again))


# ---- damaged and hostile files


def change(*keys: str, value: Any) -> Any:
    def apply(config: dict[str, Any]) -> None:
        entry = config
        for key in keys[:-1]:
            entry = entry[key]
        entry[keys[-1]] = value

    return apply


CONFIGS = {
    "a class that is no model": (change("class", value="os.system"), "is of os.system, which is not a model"),
    "a base class": (change("class", value="lightning_gen.models.base.DescentModule"), "does not fit DescentModule"),
    "a class of another type": (change("class", value=["x"]), "its entry class is not the name of a class"),
    "another class": (change("class", value="lightning_gen.models.gans.gan.GAN"), "does not fit the configured GAN"),
    "an unknown hyper-parameter": (change("hyper_parameters", "lattent", value=1), "does not fit DCGAN"),
    "a huge width": (change("hyper_parameters", "width", value=2**40), "does not fit DCGAN"),
    "not a number": (change("hyper_parameters", "width", value=float("nan")), "does not fit DCGAN"),
    "another width": (change("hyper_parameters", "width", value=8), "does not fit"),
    "hyper-parameters of another type": (change("hyper_parameters", value=[1]), "not a dictionary of plain values"),
    "negative progress": (change("progress", "images_seen", value=-1), "its entry progress is not a dictionary of"),
    "other progress": (change("progress", value={"steps": 1}), "its entry progress needs images_seen"),
    "other weights": (change("weights", value="both"), "its entry weights is not ema or raw"),
}
TEXTS = {
    "no JSON": ("{", "cannot be read"),
    "a list": ("[1]", "is not of a model that lightning_gen exported"),
    "another library's": ('{"model_type": "bert"}', "is not of a model that lightning_gen exported"),
    "deep": ("[" * 100_000, "cannot be read"),
    "large": (" " * (MAX_CONFIG_BYTES + 1), "has more than 1,048,576 bytes"),
    "binary": ("\udc80", "cannot be read"),
}


@pytest.fixture
def copy(exported, tmp_path) -> Path:
    for name in (CONFIG, WEIGHTS):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    return tmp_path


def assert_one_line(folder: Path, message: str) -> None:
    with pytest.raises(InputError) as raised:
        load(folder)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_hostile_configuration_is_one_line(name, copy):
    apply, message = CONFIGS[name]
    config = json.loads((copy / CONFIG).read_text())
    apply(config)
    (copy / CONFIG).write_text(json.dumps(config))
    assert_one_line(copy, message)


@pytest.mark.parametrize("name", TEXTS)
def test_a_configuration_that_is_none_is_one_line(name, copy):
    text, message = TEXTS[name]
    (copy / CONFIG).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert_one_line(copy, message)


def test_hostile_weights_are_one_line(copy):
    whole = (copy / WEIGHTS).read_bytes()
    tensors = load_file(copy / WEIGHTS)
    name = min(tensors)
    for content, message in (
        (whole[:100], "cannot be read"),
        (b"", "cannot be read"),
        ((2**62).to_bytes(8, "little") + whole[8:], "cannot be read"),
        ({**tensors, name: torch.zeros(3, 5)}, f"{name} is (3, 5)"),
        ({key: value for key, value in tensors.items() if key != name}, f"{name} is absent"),
        ({**tensors, "more": torch.zeros(1)}, "more is (1,)"),
        ({**tensors, name: tensors[name].long()}, f"{name} is torch.int64, not torch.float32"),
    ):
        if isinstance(content, bytes):
            (copy / WEIGHTS).write_bytes(content)
        else:
            save_file({key: value.clone() for key, value in content.items()}, copy / WEIGHTS)
        assert_one_line(copy, message)


# ---- the Hub


def test_from_pretrained_checks_the_class(exported):
    assert isinstance(DCGAN.from_pretrained(exported), DCGAN)
    assert isinstance(GenerativeModule.from_pretrained(str(exported)), DCGAN)
    with pytest.raises(InputError, match=r"is of DCGAN, not of VAE; use DCGAN.from_pretrained or lightning_gen.load"):
        VAE.from_pretrained(exported)


def test_save_pretrained_keeps_scores_and_samples_of_unchanged_weights(exported, tmp_path):
    model = load(exported)
    model.save_pretrained(tmp_path / "same")
    for path in (path for path in exported.rglob("*") if path.is_file()):
        assert (tmp_path / "same" / path.relative_to(exported)).read_bytes() == path.read_bytes()
    with torch.no_grad():
        for network in (model.network, model.ema.module):
            next(network.parameters()).add_(1.0)
    model.save_pretrained(tmp_path / "changed")
    assert {path.name for path in (tmp_path / "changed").iterdir()} == {CONFIG, WEIGHTS, "README.md"}
    assert "## Scores" not in (tmp_path / "changed" / "README.md").read_text()


def test_push_to_hub_uploads_the_folder(exported, monkeypatch):
    uploads = []

    def create_repo(self, repo_id, **options):
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload_folder(self, *, repo_id, folder_path, **options):
        uploads.append(
            (repo_id, {str(p.relative_to(folder_path)) for p in Path(folder_path).rglob("*") if p.is_file()})
        )
        return "https://huggingface.co/commit"

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    assert load(exported).push_to_hub("me/digits", private=True) == "https://huggingface.co/commit"
    [(repo_id, files)] = uploads
    assert repo_id == "me/digits"
    assert {CONFIG, WEIGHTS, "README.md", "samples/grid.png", "scores/last_ema.json"} <= files


def test_a_name_on_the_hub_is_downloaded(exported, monkeypatch):
    asked = []

    def snapshot_download(repo_id, **options):
        asked.append((repo_id, options.get("revision")))
        if repo_id == "me/none":
            raise huggingface_hub.errors.HFValidationError("404 Client Error.\n\nRepository Not Found for url: ...")
        return str(exported)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert isinstance(load("me/digits", revision="v1"), DCGAN)
    assert isinstance(DCGAN.from_pretrained("me/digits"), DCGAN)
    assert asked == [("me/digits", "v1"), ("me/digits", None)]
    with pytest.raises(InputError, match=r"^there is no folder me/none, and it is not available .* \(404 [^\n]+$"):
        load("me/none")
    with pytest.raises(InputError, match="'a/b/c' is neither a folder nor the name of a model on the Hub"):
        DCGAN.from_pretrained("a/b/c")


def test_missing_packages_are_one_line(run, exported, place, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r'needs the package huggingface_hub: pip install "lightning_gen\[hub\]"'):
        load("me/digits")
    assert isinstance(load(exported), DCGAN)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", "--ckpt", str(run), "--to", str(place / "missing"), "--onnx"]) == 2
    assert 'error: --onnx needs the package onnxscript: pip install "lightning_gen[onnx]"' in capsys.readouterr().err
    assert not (place / "missing").exists()
