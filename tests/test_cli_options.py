"""Options of the command line: names of models, lists, switches and dataclasses, and invalid values."""

import pydoc
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentError

import lightning_gen.models
from lightning_gen.cli import main
from lightning_gen.cli.parsing import join_values, run_function
from lightning_gen.models import DCGAN
from tests.cases import CASES
from tests.test_cli import CONFIGS, fit, lines_of


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("options")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model.wdth=3"], ["wdth"]),
        (["--trainer.max_epoch=3"], ["max_epoch"]),
        (["--model.width=wide"], ["width", "wide"]),
        (["--model.lr_schedule=sawtooth"], ["lr_schedule", "constant", "linear", "cosine", "step", "sawtooth"]),
        (["--model.n_critic=0"], ["n_critic", "at least 1"]),
        (["--data.name=imagenet"], ["name", "imagenet", "digits"]),
        (["--data.image_size=7"], ["8 to 128", "7 x 7"]),
        (["--data.image_size=0"], ["image_size"]),
        (["--data.leave_out=[11]"], ["no class 11", "0 to 9"]),
        (["--data.binarize=often"], ["binarize", "often"]),
        (["--data.name=mnist"], ["MNIST"]),
        (["--data.name=celeba"], ["img_align_celeba"]),
        (["--data.name=folder", "--data.root=nowhere"], ["nowhere"]),
        (["--data.batch_size=5000"], ["batch"]),
        (["--fidelity.features=resnet"], ["resnet", "classifier"]),
        (["--fidelity.features=inception", "--fidelity.inception_weights=nowhere.pth"], ["nowhere.pth"]),
        (["--fidelity.num_samples=0"], ["num_samples"]),
        (["--ckpt_path=last", "--name=never"], ["no earlier run", "never"]),
        (["--ckpt_path=nowhere.ckpt"], ["nowhere.ckpt"]),
        (["--config=nowhere.yaml"], ["nowhere.yaml"]),
        (["--runs=/proc/nowhere"], ["/proc/nowhere"]),
        (["--trainer.strategy=deepspeed_stage_2"], ["trainer.strategy is deepspeed_stage_2", "ddp"]),
        (["--trainer.strategy=fsdp"], ["trainer.strategy is fsdp", "ddp"]),
        (["--trainer.strategy=pytorch_lightning.strategies.FSDPStrategy"], ["FSDPStrategy", "ddp"]),
    ],
)
def test_bad_training_input_is_one_clear_line(options, words, place, capsys):
    assert fit(place, "--trainer.max_epochs=1", "--name=bad", *options) == 2
    line = lines_of(capsys)
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("config", "options", "words"),
    [
        ("dcgan_digits", ["--model.packing=5"], ["model.packing is 5", "does not divide the batch of 256"]),
        ("dcgan_digits", ["--model.penalty_every=4"], ["penalty_every", "DCGAN has no penalty"]),
        ("dcgan_digits", ["--model.augment=[blur]"], ["augment", "blur"]),
        ("dcgan_digits", ["--model.discriminator_norm=layer"], ["discriminator_norm", "layer", "spectral"]),
        ("dcgan_digits", ["--data.name=stacked_mnist"], ["MNIST"]),
        ("wgan_digits", ["--model.label_smoothing=0.1"], ["label_smoothing", "set it to 0"]),
        ("wgan_gp_digits", ["--model.discriminator_norm=batch"], ["discriminator_norm", "batch", "none"]),
        ("sngan_digits", ["--data.image_size=28"], ["16, 32, 64 or 128", "28 x 28", "data.image_size"]),
        ("conditional_gan_digits", ["--data.name=celeba"], ["ConditionalGAN learns from class labels"]),
        ("projection_gan_digits", ["--data.name=celeba"], ["ProjectionGAN learns from class labels"]),
        ("acgan_digits", ["--data.name=celeba"], ["ACGAN learns from class labels"]),
    ],
)
def test_bad_input_of_the_gans_is_one_clear_line(config, options, words, place, capsys):
    name = f"--name=bad_{config}"
    assert fit(place, "--trainer.max_epochs=1", name, *options, config=str(CONFIGS / f"{config}.yaml")) == 2
    line = lines_of(capsys)
    assert all(word in line for word in words), line


def printed_model(capsys, *options: str) -> dict:
    """The model in the configuration that ``fit --print_config`` prints."""
    with pytest.raises(SystemExit) as stop:
        main(["fit", *options, "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)["model"]


def test_every_model_is_exported():
    assert {case.model.__name__ for case in CASES} == {*lightning_gen.models.__all__}
    assert all(getattr(lightning_gen.models, case.model.__name__) is case.model for case in CASES)


@pytest.mark.parametrize("name", ["DCGAN", "lightning_gen.models.DCGAN", f"{DCGAN.__module__}.DCGAN"])
def test_a_model_is_named_by_its_class_or_its_import_path(name, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"model": {"class_path": name, "init_args": {"width": 8}}}))
    only_name = tmp_path / "name.yaml"
    only_name.write_text(yaml.safe_dump({"model": name}))
    printed = [
        printed_model(capsys, "--config", str(config)),
        printed_model(capsys, "--config", str(config), "--model=DCGAN"),  # the same class, so that its options stay
        printed_model(capsys, "--config", str(only_name), "--model.width=8"),
        printed_model(capsys, "--model", name, "--model.width", "8"),
        printed_model(capsys, f"--model={name}", "--model.width=8"),
        printed_model(capsys, f"--model.class_path={name}", "--model.init_args.width=8"),
    ]
    for model in printed:
        assert pydoc.locate(model["class_path"]) is DCGAN
        assert model["init_args"]["width"] == 8
        assert model["init_args"] == printed[0]["init_args"]
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model.help", name])
    assert stop.value.code == 0
    assert "--model.width" in capsys.readouterr().out


def test_a_model_of_a_short_name_trains_and_its_saved_configuration_trains_again(place, tmp_path):
    config = tmp_path / "short.yaml"
    config.write_text(yaml.safe_dump({"model": {"class_path": "DCGAN"}, "data": {"name": "digits"}}))
    assert fit(place, "--trainer.max_steps=1", "--fidelity.features=null", config=str(config)) == 0
    [folder] = (place / "runs" / "short").iterdir()
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"]["init_args"]["width"] == 4
    assert fit(place, "--name=again", "--trainer.fast_dev_run=true", config=str(folder / "config.yaml")) == 0


def test_a_model_from_outside_the_package_is_named_by_its_import_path(tmp_path, monkeypatch, capsys):
    (tmp_path / "models_of_a_user.py").write_text(
        "from lightning_gen.models import DCGAN\n\n\nclass WideGAN(DCGAN):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"model": {"class_path": "models_of_a_user.WideGAN"}}))
    model = printed_model(capsys, "--config", str(config), "--model.width=8")
    assert model["class_path"] == "models_of_a_user.WideGAN"
    assert model["init_args"]["width"] == 8
    assert printed_model(capsys, "--model=models_of_a_user.WideGAN", "--model.width=8") == model


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model=DCGANN"], "--model: there is no model DCGANN (did you mean DCGAN?); "),
        (["--model.class_path=DCGANN"], "--model.class_path: there is no model DCGANN (did you mean DCGAN?); "),
        (["--model.help=DCGANN"], "--model.help: there is no model DCGANN (did you mean DCGAN?); "),
        ({"class_path": "DCGANN", "init_args": {"width": 8}}, "there is no model DCGANN (did you mean DCGAN?); "),
        (["--model=lightning_gen.models.base.DescentModule"], "the model is an abstract base class; "),
        (["--model=lightning_gen.models.gans.latent_gan.LatentGAN"], "cannot create the model "),
        (
            ["--model=lightning_gen.models.autoencoders.variational.ELBOModule"],
            "ELBOModule has no network: use a model; ",
        ),
        (["--model=torch.nn.Linear"], "the model is not a GenerativeModule; "),
        (["--model.help=torch.nn.Linear"], "torch.nn.Linear is not a GenerativeModule; "),
        (["--model=lightning_gen.models.DCGANN"], "has no attribute 'DCGANN'; "),
        (["--model=nowhere.DCGAN"], "No module named 'nowhere'; "),
        ({"class_path": "nowhere.DCGAN"}, "No module named 'nowhere'; "),
        (
            ["--trainer.max_epochs=1"],
            "a configuration or --model is required; ",
        ),
    ],
)
def test_a_wrong_name_of_a_model_is_one_short_line(options, words, tmp_path, capsys):
    if isinstance(options, dict):
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump({"model": options}))
        options = ["--config", str(config)]
    assert main(["fit", *options]) == 2
    line = lines_of(capsys)
    assert words in line
    assert "lightning-gen list models" in line
    assert len(line) < 300


def test_an_error_in_an_option_of_a_model_does_not_list_the_models(capsys):
    for option in ("--model.width=wide", "--model.wdth=8", "--trainer.callbacks=Nothing"):
        assert main(["fit", "--model=DCGAN", option]) == 2
        assert "ACGAN" not in lines_of(capsys)


def test_values_of_a_list_are_joined():
    assert join_values(["--a", "1", "--m", "x", "y", "--b", "2", "--m=[z]"], ["--m"]) == [
        "--a",
        "1",
        "--m=[x,y]",
        "--b",
        "2",
        "--m=[z]",
    ]
    assert join_values(["--m", "x"], ["--m"]) == ["--m=[x]"]
    assert join_values(["--m=x", "--b=2"], ["--m"]) == ["--m=[x]", "--b=2"]
    assert join_values(["--m", "[x,y]"], ["--m"]) == ["--m=[x,y]"]
    assert join_values([], ["--m"]) == []


def test_a_switch_takes_no_value_or_one():
    args = ["word", "--raw", "--b", "2", "--raw", "false", "--raw=true", "--raw"]
    expected = ["word", "--raw=true", "--b", "2", "--raw", "false", "--raw=true", "--raw=true"]
    assert join_values(args, [], ["--raw"]) == expected


@dataclass(frozen=True)
class Box:
    """A box.

    Attributes:
        width: how wide it is.
        sides: the other two sides.
        lid: whether it has a lid.
    """

    width: int = 1
    sides: tuple[float, float] | None = None
    lid: bool = False


BOX = Box(width=3)


def test_a_dataclass_argument_is_flattened_into_options(capsys):
    calls = []

    def pack(weight: float, box: Box = BOX, labels: list[int] | None = None) -> None:
        """Pack something.

        It goes into a box.

        Args:
            weight: in grams.
            box: the box.
            labels: on the box.
        """
        calls.append((weight, box, labels))

    run_function(pack, "pack", ["--weight", "2", "--sides", "1", "2.5", "--lid", "--labels", "4", "5"])
    run_function(pack, "pack", ["--weight=2", "--width=7", "--lid", "false"])
    assert calls == [(2.0, Box(3, (1.0, 2.5), True), [4, 5]), (2.0, Box(7), None)]
    with pytest.raises(ArgumentError, match="width"):
        run_function(pack, "pack", ["--weight", "2", "--width", "wide"])
    with pytest.raises(SystemExit):
        run_function(pack, "pack", ["--help"])
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("It goes into a box.", "in grams", "how wide it is", "--lid"))
    assert "Args" not in printed
    assert "--box" not in printed


def test_help_names_the_options(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "--num_samples" in printed
    assert "seed of the samples" in printed
    for args in ([], ["--help"], ["-h"]):
        assert main(args) == 0
        printed = capsys.readouterr().out
        assert all(
            f"  {command} " in printed for command in ("fit", "validate", "test", "evaluate", "sample", "inspect")
        )
