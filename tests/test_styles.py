"""The styles of style-based generators on the command line and in inspections."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.cli import main
from lightning_gen.cli.truncating import TruncationOptions, set_truncation
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation import classifier
from lightning_gen.evaluation.equivariance import equivariance
from lightning_gen.images import to_uint8
from lightning_gen.inference import isolated_inference
from lightning_gen.inspection import Subject
from lightning_gen.inspection.interpolate import interpolate
from lightning_gen.inspection.mix import mix, mix_styles
from lightning_gen.inspection.project import Schedule, project
from lightning_gen.inspection.style_directions import principal_directions
from lightning_gen.inspection.styles import decode_styles, sample_styles
from lightning_gen.inspection.traverse import traverse
from lightning_gen.models.checkpoint import load_model
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.models.gans.style_gan2 import StyleGAN2
from lightning_gen.models.gans.style_gan3 import StyleGAN3
from lightning_gen.noise import image_generators
from lightning_gen.truncation import truncate, truncated_styles
from tests.helpers import trainer
from tests.test_cli import lines_of
from tests.toy_styles import ToyStyles

TINY = {"latent_dim": 4, "style_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 16}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ImageData:
    return ImageData("digits", root=str(tmp_path_factory.mktemp("data")), batch_size=32)


@pytest.fixture(scope="module")
def checkpoints(data, tmp_path_factory) -> dict[str, Path]:
    """StyleGAN2, whose noise is set to 0, DCGAN and StyleGAN3 after two batches."""
    folder, paths = tmp_path_factory.mktemp("styles"), {}
    torch.manual_seed(0)
    for name, model in {
        "style": StyleGAN2((1, 16, 16), **TINY),
        "plain": DCGAN((1, 16, 16), latent_dim=4, width=4),
        "alias_free": StyleGAN3((1, 16, 16), **TINY, num_layers=3, num_critical=1, margin=0),
    }.items():
        fit = trainer(limit_train_batches=2)
        fit.fit(model, data)
        for module in model.modules():
            if hasattr(module, "noise_strength"):
                module.noise_strength.data.zero_()
        paths[name] = folder / name / "checkpoints" / "last.ckpt"
        fit.save_checkpoint(paths[name])
    return paths


@pytest.fixture(autouse=True)
def _short_training_of_the_classifier(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(classifier, "EPOCHS", (1, 1))
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path_factory.getbasetemp() / "cache_styles"))


@pytest.fixture
def subject(data) -> Subject:
    return Subject(ToyStyles(), data, batch_size=7)


# ---- truncation


def test_truncation_moves_the_chosen_layers_towards_the_average():
    styles, average = torch.randn(2, 3, 4), torch.randn(4)
    assert truncate(styles, average, 1.0).equal(styles)
    torch.testing.assert_close(truncate(styles, average, 0.0), average.expand(2, 3, 4))
    half = truncate(styles, average, 0.5, layers=1)
    torch.testing.assert_close(half[:, 0], (styles[:, 0] + average) / 2)
    assert half[:, 1:].equal(styles[:, 1:])


def test_invalid_truncation_is_refused():
    model = ToyStyles()
    for options, message in [
        (TruncationOptions(float("nan")), "--truncation is nan; it must be a number"),
        (TruncationOptions(0.5, 4), "--truncated_layers is 4; this model has 3 layers with styles"),
        (TruncationOptions(0.5, 0), "--truncated_layers is 0"),
        (TruncationOptions(None, 2), "--truncated_layers has no effect without --truncation"),
    ]:
        model.truncation = 1.0
        with pytest.raises(InputError, match=message):
            set_truncation(model, options)
    set_truncation(torch.nn.Linear(1, 1), TruncationOptions())


def test_samples_of_truncation_zero_are_equal(checkpoints, tmp_path):
    def generate(name, *options):
        command = ["sample", f"--ckpt={checkpoints['style']}", f"--out={tmp_path / name}", "--num=3", "--device=cpu"]
        assert main([*command, *options]) == 0
        return [(tmp_path / name / f"{i:06d}.png").read_bytes() for i in range(3)]

    assert len({*generate("zero", "--truncation=0")}) == 1
    assert len({*generate("full")}) == 3
    assert generate("one", "--truncation=1") == generate("default")
    assert generate("part", "--truncation=0", "--truncated_layers=2") != generate("all", "--truncation=0")


def test_other_models_have_no_truncation(checkpoints, tmp_path, capsys):
    common = [f"--ckpt={checkpoints['plain']}", "--truncation=0.7", "--device=cpu"]
    for command in (["sample", f"--out={tmp_path / 'out'}"], ["evaluate"], ["inspect", "interpolate"]):
        assert main([command[0], *command[1:], *common]) == 2
        line = lines_of(capsys)
        assert (
            line == "error: --truncation is an option of style-based generators, and DCGAN has no styles; leave it out"
        )
    folders = [f"--generated={tmp_path}", f"--reference={tmp_path}"]
    assert main(["evaluate", *folders, "--truncation=0.7"]) == 2
    assert "no model is loaded" in capsys.readouterr().err


def test_evaluate_scores_path_lengths_under_truncation(checkpoints, tmp_path, capsys):
    common = ["evaluate", f"--ckpt={checkpoints['style']}", "--num_samples=8", "--device=cpu", "--band_draws=0"]
    run = checkpoints["style"].parent.parent
    metrics = ["--metrics", "fid", "ppl_zfull", "ppl_wend"]
    assert main([*common, *metrics, "--truncation=0.5", "--truncated_layers=2"]) == 0
    [path] = (run / "evaluation").iterdir()
    assert path.name == "last_ema_psi0.5of2_fid8_train_classifier.json"
    card = json.loads(path.read_text())
    assert (card["truncation"], card["truncated_layers"]) == (0.5, 2)
    assert card["protocol"]["ppl_wend"] == "ppl_wend8@classifier"
    assert card["scores"]["ppl_zfull"] > 0
    out = tmp_path / "card.json"
    assert main([*common, "--metrics", "ppl_wend", "--draws=2", f"--out={out}"]) == 0
    card = json.loads(out.read_text())
    assert card["truncation"] == 1
    assert {"ppl_wend", "ppl_wend_sem"} == {*card["spread"]}
    capsys.readouterr()
    assert main(["evaluate", f"--ckpt={checkpoints['plain']}", "--metrics=ppl_wend", "--device=cpu"]) == 2
    line = lines_of(capsys)
    assert "is of the styles w of StyleGAN, and DCGAN has none; use ppl_zend" in line


def test_evaluate_scores_equivariance_and_path_lengths_of_an_alias_free_generator(checkpoints, capsys):
    common = ["--num_samples=8", "--device=cpu", "--band_draws=0", "--batch_size=3"]
    metrics = ["--metrics", "eqt", "eqr", "ppl_wend"]
    assert main(["evaluate", f"--ckpt={checkpoints['alias_free']}", *common, *metrics]) == 0
    [path] = (checkpoints["alias_free"].parent.parent / "evaluation").iterdir()
    card = json.loads(path.read_text())
    assert card["scores"]["ppl_wend"] > 0
    for metric in ("eqt", "eqr"):
        expected = equivariance(load_model(checkpoints["alias_free"]), metric, 8, seed=1)
        assert card["scores"][metric] == pytest.approx(expected[metric], abs=0.01)
        assert card["protocol"][metric] == f"{metric}8"
    capsys.readouterr()
    assert main(["evaluate", f"--ckpt={checkpoints['style']}", "--metrics=eqt", "--device=cpu"]) == 2
    assert lines_of(capsys) == (
        "error: eqt needs a generator whose input can be moved: StyleGAN3, or StyleGAN2 with model.input fourier"
    )


def test_training_is_scored_by_path_lengths(data, tmp_path):
    def fit(model):
        scores = Fidelity(metrics=("ppl_wend",), num_samples=8)
        run = trainer(limit_train_batches=1, limit_val_batches=0, default_root_dir=tmp_path, callbacks=[scores])
        run.fit(model, data)
        return run.callback_metrics

    found = fit(StyleGAN2((1, 16, 16), **TINY))
    assert found["fidelity/ppl_wend"] > 0
    assert found["fidelity/ppl_wend8_classifier"] == found["fidelity/ppl_wend"]
    with pytest.raises(InputError, match="DCGAN has none; use ppl_zend"):
        fit(DCGAN((1, 16, 16), latent_dim=4, width=4))


# ---- interpolate and traverse


def test_interpolation_in_w_is_a_line_of_styles(subject):
    model = subject.model
    model.truncation = 0.5
    latents = interpolate_latents(subject)
    ends = truncated_styles(model, latents)
    middle = to_uint8(model.decode_styles((ends[0::2] + ends[1::2]) / 2))
    found = interpolate(subject, space="w", rows=2, columns=3, frames=2)
    assert (found.numbers["space"], found.numbers["path"], found.numbers["between"]) == ("w", "linear", "latents")
    images = decode_styles(
        subject, torch.stack([ends[0::2], (ends[0::2] + ends[1::2]) / 2, ends[1::2]], 1).flatten(0, 1)
    )
    assert images[1::3].equal(middle)
    change = images.unflatten(0, (2, 3)).double().div(255).diff(dim=1).square().mean((2, 3, 4)).sqrt().mean(0)
    assert found.numbers["change"] == pytest.approx(change.tolist())
    with pytest.raises(InputError, match="--space w is between latents of the prior"):
        interpolate(subject, between="images", space="w")


def interpolate_latents(subject):
    return subject.model.sample_latents(4, generator=image_generators(subject.seed, range(4)))


def test_directions_of_styles_are_those_of_scikit_learn():
    vectors = torch.randn(50, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 1, 2, 0.5, 0.1])
    found = principal_directions(vectors)
    expected = PCA().fit(vectors.numpy())
    torch.testing.assert_close(found.deviations, torch.from_numpy(expected.explained_variance_).float().sqrt())
    torch.testing.assert_close(
        found.components.abs(), torch.from_numpy(expected.components_).float().abs(), atol=1e-4, rtol=0
    )
    assert (found.components.abs().max(1).values == found.components.max(1).values).all()


def test_traversal_in_w_moves_the_chosen_layers_alone(subject):
    found = traverse(subject, rows=2, columns=3, num=100, space="w", limit=2)
    variance = found.numbers["explained_variance"]
    assert variance == sorted(variance, reverse=True)
    assert sum(variance) == pytest.approx(1)
    assert len(found.numbers["effect"]) == 2
    first = traverse(subject, rows=2, columns=3, num=100, space="w", limit=2, layers=[0])
    assert 0 < first.numbers["effect"][0] < found.numbers["effect"][0]
    subject.model.images[0] = 0
    silent = traverse(subject, rows=2, columns=3, num=100, space="w", layers=[0])
    assert silent.numbers["effect"] == [0, 0]
    for options, message in [
        ({"layers": [3]}, "the layers of this model are 0 to 2"),
        ({"at": "image"}, "leave out --at image"),
        ({"space": "z", "layers": [0]}, "--layers is an option of --space w"),
    ]:
        with pytest.raises(InputError, match=message):
            traverse(subject, **{"space": "w", **options})
    subject.model.truncation = 0.0
    with pytest.raises(InputError, match="all styles are equal"):
        traverse(subject, space="w")


# ---- mix


def test_mixing_a_style_with_itself_changes_nothing():
    styles = torch.randn(3, 4, 5)
    mixed = mix_styles(styles, styles, [0, 2])
    assert mixed.shape == (3, 3, 4, 5)
    assert mixed[range(3), range(3)].equal(styles)
    others = torch.randn(2, 4, 5)
    mixed = mix_styles(styles, others, [0, 2])
    for row in range(3):
        for column in range(2):
            assert mixed[row, column, [0, 2]].equal(styles[row, [0, 2]])
            assert mixed[row, column, [1, 3]].equal(others[column, [1, 3]])


def test_mixed_images_are_between_their_sources(subject):
    found = mix(subject, rows=2, columns=3)
    assert found.numbers["layers"] == [0]
    assert found.numbers["distance_from_rows"] > found.numbers["distance_from_columns"] > 0
    every = mix(subject, rows=2, columns=3, layers=[2, 1, 0, 0])
    assert every.numbers["layers"] == [0, 1, 2]
    assert every.numbers["distance_from_rows"] == 0
    with pytest.raises(InputError, match=r"--layers is \[-1\]"):
        mix(subject, layers=[-1])
    with pytest.raises(InputError, match="DCGAN has no styles w"):
        mix(Subject(DCGAN((1, 16, 16), latent_dim=4, width=4), subject.data))


def test_styles_of_a_class(data):
    model = ToyStyles(num_classes=3)
    styles = sample_styles(Subject(model, data, batch_size=2), 0, 5, label=2)
    assert styles[:, :, 4:].eq(torch.tensor([1.0, 1, 3])).all()


# ---- project


def test_projection_finds_an_image_of_the_generator(data):
    model = ToyStyles(scale=0.5)
    target = model.decode(torch.tensor([[1.0, -0.5, 0.3, 0.8], [0.2, 0.4, -1.0, 0.0]]))

    class Of(Subject):
        def first(self, split, num):
            return super().first(split, num)._replace(images=target)

    for options in ({}, {"space": "w+"}):
        with isolated_inference(model, 0):
            found = project(Of(model, data), by="pixels", num=2, iterations=200, **options)
        distances = found.numbers["distance"]
        assert distances[-1] < 1e-3 * distances[0]
        assert found.numbers["steps"] == [0, 20, 50, 100, 200]
        assert all(
            after > before for before, after in zip(found.numbers["psnr"][0], found.numbers["psnr"][-1], strict=True)
        )


def test_the_schedule_of_projection():
    schedule = Schedule(100, 0.1, 1.0)
    rates = [schedule.lr_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[10:75] == pytest.approx([0.1] * 65)
    assert 0 < rates[-1] < 1e-3
    assert schedule.noise_at(0) == 1
    assert schedule.noise_at(75) == 0


@pytest.mark.parametrize(
    ("what", "files"),
    [
        (["interpolate", "--space=w", "--rows=2", "--frames=3"], ["gif", "json", "png"]),
        (["traverse", "--space=w", "--num=20", "--truncation=0.7"], ["json", "png"]),
        (["mix", "--rows=2", "--columns=2", "--layers", "0", "1"], ["json", "png"]),
        (["project", "--num=2", "--iterations=4", "--by=pixels"], ["json", "png"]),
        (["project", "--num=2", "--iterations=4", "--by=features", "--space=w+"], ["json", "png"]),
    ],
    ids=lambda value: "-".join(value)[:20] if isinstance(value, list) else "",
)
def test_inspections_of_a_checkpoint(checkpoints, tmp_path, what, files):
    command = ["inspect", *what, f"--ckpt={checkpoints['style']}", f"--out={tmp_path}", "--device=cpu"]
    assert main(command) == 0
    assert sorted(path.suffix[1:] for path in tmp_path.iterdir()) == files
    numbers = json.loads((tmp_path / f"last_{what[0]}.json").read_text())
    if what[0] == "project":
        assert numbers["distance"][-1] < numbers["distance"][0]
    with Image.open(tmp_path / f"last_{what[0]}.png") as picture:
        assert min(picture.size) > 16


def test_projection_by_lpips_needs_weights_and_large_images(checkpoints, capsys):
    command = ["inspect", "project", f"--ckpt={checkpoints['style']}", "--by=lpips", "--device=cpu"]
    assert main(command) == 2
    assert "name it with --lpips_weights" in capsys.readouterr().err
