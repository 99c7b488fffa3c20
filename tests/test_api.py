"""The Python interface: names, load, score and model(...)."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

import lightning_gen
from lightning_gen import models
from lightning_gen.api import load, score
from lightning_gen.data import ImageData
from lightning_gen.display import picture
from lightning_gen.errors import InputError
from lightning_gen.models import DCGAN, EDM, VAE
from lightning_gen.models.base import GenerativeModule
from lightning_gen.noise import image_generators
from lightning_gen.types import ImageGenerator, Reconstructor, SamplingOptions, Translator
from tests.cases import CASES
from tests.helpers import trainer

ROOT = Path(__file__).parent.parent
NUM = 40
"""Number of samples of a score."""


@pytest.fixture(scope="module")
def data(tmp_path_factory, shared_cache) -> ImageData:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_GEN_CACHE", str(shared_cache))
        data = ImageData("digits", root=str(tmp_path_factory.mktemp("data")), batch_size=64)
        data.prepare_data()
    return data


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data) -> Path:
    """``runs/gan/1`` with a last checkpoint, and ``runs/gan/2`` with a last and a best one, which differ."""
    folder = tmp_path_factory.mktemp("runs")
    for run, names in (("1", ("last",)), ("2", ("best", "last"))):
        pl.seed_everything(int(run))
        runner = trainer(limit_train_batches=2, max_epochs=len(names))
        model = DCGAN(data.image_shape, width=4, latent_dim=6, ema_half_life=50.0)
        for epochs, name in enumerate(names, 1):
            runner.fit_loop.max_epochs = epochs
            runner.fit(model, data)
            runner.save_checkpoint(folder / "gan" / run / "checkpoints" / f"{name}.ckpt")
    return folder


def images_of(model: GenerativeModule) -> torch.Tensor:
    assert isinstance(model, ImageGenerator)
    return model.sample(4, generator=image_generators(0, range(4)))


# ---- names


def test_importing_the_package_imports_no_library():
    code = (
        "import sys, lightning_gen; assert lightning_gen.__version__; assert 'DCGAN' in dir(lightning_gen); "
        "assert not hasattr(lightning_gen, 'DCGANN'); "
        "assert not {'torch', 'pytorch_lightning', 'wandb', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def test_every_model_is_a_name_of_the_package():
    for name in models.__all__:
        assert getattr(lightning_gen, name) is getattr(models, name)
    assert {*models.__all__, "ImageData", "InputError", "load", "score"} <= {*dir(lightning_gen)}
    assert {*lightning_gen.__all__} >= {*models.__all__}
    assert lightning_gen.load is load
    with pytest.raises(AttributeError, match="no attribute 'DCGANN'"):
        _ = lightning_gen.DCGANN


def test_type_checkers_know_the_names(tmp_path):
    """What ``__getattr__`` gives at run time stands under TYPE_CHECKING as well."""
    tree = ast.parse((ROOT / "lightning_gen" / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {alias.name: node.module for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    assert imported.pop("*") == "lightning_gen.models"
    assert imported == lightning_gen.INTERFACE
    assert not [name for name in imported if (ROOT / "lightning_gen" / f"{name}.py").exists()]  # a module hides a name


# ---- load


def test_load_takes_the_best_checkpoint_else_the_last_of_the_newest_run(runs):
    new, old = runs / "gan" / "2", runs / "gan" / "1"
    assert load(str(new)).images_seen == 128
    assert load(new / "checkpoints" / "last.ckpt").images_seen == 256
    assert load(old).images_seen == 128
    assert torch.equal(images_of(load(runs / "gan")), images_of(load(new)))
    assert not torch.equal(images_of(load(old)), images_of(load(new)))


def test_load_gives_eval_mode_and_averaged_weights_unless_asked(runs):
    model, raw = load(runs / "gan"), load(runs / "gan", raw=True)
    assert not model.training
    assert model.use_ema
    assert not raw.use_ema
    assert not torch.equal(images_of(model), images_of(raw))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("there/is/none", "^no checkpoint at there/is/none"),
        ("none", "^no checkpoint at none"),
        (Path("owner/name"), "^no checkpoint at owner/name"),
    ],
)
def test_load_of_nothing_is_one_line(path, message):
    with pytest.raises(InputError, match=message):
        load(path)


def test_a_typo_in_an_existing_folder_is_not_searched_on_the_hub(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    with pytest.raises(InputError, match=f"^no checkpoint at {runs.name}/gann"):
        load(f"{runs.name}/gann")


def test_a_revision_is_of_the_hub(runs):
    with pytest.raises(InputError, match=r"^revision is of a model on the Hugging Face Hub"):
        load(runs / "gan", revision="main")


# ---- score


def test_a_model_in_memory_and_its_checkpoint_score_alike(runs, data):
    checkpoint = runs / "gan" / "2" / "checkpoints" / "best.ckpt"
    options = {"metrics": ["fid", "prc"], "num_samples": NUM, "band_draws": 0}
    in_memory = score(load(checkpoint), data, **options)
    from_file = score(str(runs / "gan"), **options)
    assert in_memory.scores == from_file.scores
    assert {"fid", "precision", "recall"} <= in_memory.scores.keys()
    assert from_file.checkpoint == str(checkpoint)
    assert from_file.selection is None
    assert in_memory.checkpoint is None
    assert in_memory.seed == 1
    assert in_memory.weights == "ema"


def test_score_does_not_change_the_model(data):
    model = EDM(data.image_shape, width=4, multipliers=(1, 2), blocks=1, attention=(), ema_half_life=50.0)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sampling = model.sampling
    card = score(
        model,
        data,
        "fid",
        num_samples=NUM,
        band_draws=0,
        raw=True,
        sampling=SamplingOptions(steps=3),
    )
    assert card.weights == "raw"
    assert "3 steps" in (card.drawn or "")
    assert model.use_ema
    assert model.training
    assert model.sampling == sampling
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_score_finds_the_data_of_the_last_fit(data):
    model = VAE(data.image_shape, width=4, latent_dim=3)
    with pytest.raises(InputError, match=r"^the data of this VAE is unknown; pass data, an ImageData or a folder$"):
        score(model)
    trainer(limit_train_batches=1, limit_val_batches=0).fit(model, data)
    card = score(model, metrics=["elbo"], num_samples=5, importance_samples=2)
    assert card.reference == "digits/train"


def test_score_writes_the_card(runs, data, tmp_path):
    card = score(runs / "gan", data, num_samples=NUM, band_draws=0, out=tmp_path / "card.json")
    assert (tmp_path / "card.json").read_text() == card.to_json()


BAD = {
    "metrics": ({"metrics": ["fidd"]}, r"^metrics: there is no metric fidd \(did you mean fid\?\)"),
    "no metrics": ({"metrics": []}, "^metrics is empty; choose from fid"),
    "num_samples": ({"num_samples": 0}, "^num_samples is 0; it must be at least 1$"),
    "draws": ({"draws": 2, "metrics": ["elbo"]}, "^draws are draws of samples"),
    "back": ({"back": True}, "^back is the other direction of a translator"),
    "truncation": ({"truncation": 0.5}, "^truncation is an option of style-based generators"),
    "sampling": ({"sampling": SamplingOptions(steps=3)}, "^steps is an option of models that generate images"),
    "device": ({"device": "moon"}, "^device is moon, which cannot be used here"),
    "band": ({"band_draws": 1}, "^band_draws is 1, and one draw has no standard deviation"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_argument_is_one_line_in_the_names_of_python(name, data):
    options, message = BAD[name]
    with pytest.raises(InputError, match=message) as raised:
        score(DCGAN(data.image_shape, width=4), data, **options)
    assert "\n" not in str(raised.value)


# ---- model(...)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model.__name__)
def test_a_model_is_called_as_its_family_is(case):
    model = case.build(0)
    batch = next(iter(case.loader(0, size=3)))
    images, labels = batch.images, batch.labels if model.num_classes else None
    if isinstance(model, Translator):
        called = model(batch.inputs)
        if model.network.__class__.__name__ != "Denoiser":
            torch.testing.assert_close(called, model.translate(batch.inputs))
    elif "diffusion" in type(model).__module__:
        times = torch.full((3,), float(model.all_timesteps()[20]))
        with model.inference_network() as denoiser:
            classes = model.class_rows(labels, 3)
            torch.testing.assert_close(
                called := model(images, float(times[0]), labels), denoiser(images, times, classes)
            )
    elif isinstance(model, Reconstructor):
        torch.testing.assert_close(called := model(images, labels), model.reconstruct(images, labels=labels))
    else:
        latents = model.sample_latents(3)
        z = latents[:, : model.latent_dim] if labels is not None else latents
        classes = latents[:, model.latent_dim :].argmax(1) if labels is not None else None
        torch.testing.assert_close(called := model(z, classes), model.decode(latents))
        torch.testing.assert_close(called, model(latents))
    assert called.shape == (3, *model.image_shape)
    assert not called.requires_grad


def test_latents_that_do_not_fit_are_one_line():
    plain = DCGAN((1, 16, 16), width=4, latent_dim=6)
    conditional = models.ConditionalGAN((1, 16, 16), num_classes=10, width=4, latent_dim=6)
    for model, arguments, message in (
        (plain, (torch.zeros(2, 5),), "^the latents have the shape (2, 5); DCGAN takes (batch, 6)"),
        (plain, (torch.zeros(2, 6), torch.zeros(2).long()), "^DCGAN is not conditional"),
        (
            conditional,
            (torch.zeros(2, 6),),
            "^ConditionalGAN is conditional; give the class of each latent, from 0 to 9",
        ),
        (conditional, (torch.zeros(2, 6), torch.tensor([0, 10])), "^labels 0 to 10: the classes are 0 to 9"),
        (conditional, (torch.zeros(2, 16), torch.tensor([0, 1])), "^the latents end in their classes"),
    ):
        with pytest.raises(InputError, match="^" + re.escape(message[1:])):
            model(*arguments)


# ---- pictures


def test_a_picture_has_the_pixels_of_the_images_enlarged():
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    shown = picture(images, columns=3, min_width=48)
    assert shown.size == (3 * 16 + 4, 16 + 2)  # images of 2 x 8 pixels, between borders of one pixel
    pixels = torch.from_numpy(np.array(shown))[..., 0]
    assert torch.equal(pixels[1:17:2, 1:17:2], images[0, 0])
    assert torch.equal(pixels[2:18:2, 19:35:2], images[1, 0])
    assert np.array_equal(np.array(picture(images / 127.5 - 1, 3, 48)), np.array(shown))
    assert picture(torch.zeros(1, 3, 600, 600)).size == (600, 600)


# ---- the README


def test_the_readmes_six_lines(tmp_path, monkeypatch, capsys):
    """They run as they stand, with fewer epochs."""
    text = (ROOT / "README.md").read_text()
    [code] = [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "pl.Trainer" in block]
    assert len([line for line in code.splitlines() if line]) == 6
    monkeypatch.chdir(tmp_path)
    shortened = code.replace("max_epochs=110", "max_epochs=1")
    assert shortened != code
    names: dict = {}
    exec(compile(shortened, "README.md", "exec"), names)
    assert isinstance(names["model"], GenerativeModule)
    assert "fid" in capsys.readouterr().out
