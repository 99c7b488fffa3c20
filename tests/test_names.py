"""Names on the command line: checked before PyTorch is imported, with the nearest valid one, and listed."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import lightning_gen.models
from lightning_gen.cli import catalogue, main
from lightning_gen.cli.commands import COMMANDS
from lightning_gen.cli.inspecting import INSPECTIONS
from lightning_gen.cli.suggestions import nearest
from lightning_gen.data import ImageData
from lightning_gen.data.datasets import DATASETS
from lightning_gen.diffusion import adaptive, samplers  # noqa: F401 (each adds its samplers to the table)
from lightning_gen.evaluation import METRICS
from tests.test_cli import CONFIGS, ROOT, TINY, lines_of

HEAVY = ("torch", "pytorch_lightning", "lightning_fabric", "jsonargparse", "numpy", "wandb", "sklearn")
WITHOUT_LIBRARIES = f"""
import sys
from lightning_gen.__main__ import main
code = main(sys.argv[1:])
print("imported:", [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("--help", 0, "lightning-gen COMMAND"),
        ("--version", 0, "lightning-gen 0."),
        ("list", 0, "DCGAN "),
        ("inspect --help", 0, "WHAT: reconstruct"),
        ("fitt", 2, "did you mean fit?"),
        ("dcgan_digits", 2, "dcgan_digits is a configuration, not a command: lightning-gen fit dcgan_digits"),
        ("fit", 2, "lightning-gen fit dcgan_digits"),
        ("fit dcgan_digit", 2, "did you mean dcgan_digits?"),
        ("fit dcgan_digits --model=DCGANN", 2, "did you mean DCGAN?"),
        ("fit dcgan_digits --data.name minst", 2, "did you mean mnist?"),
        ("evaluate --ckpt x --metrics fid kdi", 2, "did you mean kid?"),
        ("sample --ckpt x --out y --sampler=dimm", 2, "did you mean ddim?"),
        ("inspect --ckpt x projct", 2, "did you mean project?"),
    ],
)
def test_an_answer_that_needs_no_library_imports_none(args, code, words):
    """Importing the libraries takes seconds."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBRARIES, *args.split()], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code
    assert words in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1] == "imported: []"


def test_the_names_are_those_of_the_tables():
    assert [*catalogue.models()] == sorted(lightning_gen.models.__all__, key=str.lower)
    for name, path in catalogue.models().items():
        model = getattr(lightning_gen.models, name)
        assert Path(inspect.getfile(model)) == path
        assert catalogue.describe_model(name) == inspect.getdoc(model).splitlines()[0]
    assert catalogue.datasets() == {name: info.summary for name, info in DATASETS.items()}
    assert all(catalogue.datasets().values())
    assert inspect.signature(ImageData).parameters["name"].default == catalogue.DEFAULT_DATASET
    assert {*catalogue.metrics()} == {*METRICS}
    assert {*catalogue.samplers()} == {*samplers.SAMPLERS}
    assert catalogue.inspections() == tuple(INSPECTIONS)
    assert catalogue.configs() == {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}


def test_every_command_can_be_imported():
    assert all(callable(command.load()) for command in COMMANDS.values())


@pytest.mark.parametrize(
    ("name", "choices", "found"),
    [
        ("fitt", ["fit", "test"], "fit"),
        ("wgan-gp", ["WGAN", "WGANGP"], "WGANGP"),
        ("dcgan", ["DCGAN", "GAN"], "DCGAN"),
        ("lattent_dim", ["latent_dim", "width"], "latent_dim"),
        ("xyz", ["fit", "test"], None),
        ("", ["fit"], None),
    ],
)
def test_the_nearest_name(name, choices, found):
    assert nearest(name, choices) == found


def test_list_has_one_line_per_name(capsys):
    printed = {}
    for what in ("models", "configs", "datasets"):
        assert main(["list", what]) == 0
        title, *printed[what] = capsys.readouterr().out.splitlines()
        assert title.startswith(("models", "configurations", "datasets"))
    assert [line.split()[0] for line in printed["models"]] == [*catalogue.models()]
    assert [line.split()[0] for line in printed["configs"]] == [*catalogue.configs()]
    assert [line.split()[0] for line in printed["datasets"]] == [*DATASETS]
    assert "  dcgan_digits  " in "\n".join(printed["configs"])
    assert any(line.endswith(" DCGAN on digits, 16 x 16") for line in printed["configs"])
    assert all(len(line.split(maxsplit=1)) == 2 for lines in printed.values() for line in lines)
    assert main(["list"]) == 0
    whole = capsys.readouterr().out.splitlines()
    assert len(whole) == sum(len(lines) + 1 for lines in printed.values()) + 2
    assert main(["list", "modls"]) == 2
    assert "did you mean models?" in lines_of(capsys)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["fit", "DCGAN"], "DCGAN is a model, not a configuration; name it with --model DCGAN"),
        (["fit", "nothing_like_it"], "there is no configuration nothing_like_it; lightning-gen list configs"),
        (["fit", "--config", "configs/dcgan_digit.yaml"], "did you mean configs/dcgan_digits.yaml?"),
        (["fit", "elsewhere/dcgan_digits.yaml"], "no file elsewhere/dcgan_digits.yaml (did you mean dcgan_digits?)"),
        (["fit", "--config=nowhere.yaml"], "there is no file nowhere.yaml"),
        (["fit", "configs"], "configs is a folder"),
        (["validate", "dcgan_digits", "other"], "there is no configuration other"),
        (["list", "--modls"], "there is no list of --modls"),
    ],
)
def test_a_wrong_name_of_a_configuration(args, words, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(args) == 2
    assert words in lines_of(capsys)


def test_names_in_a_configuration_file(tmp_path, capsys):
    config = tmp_path / "own.yaml"
    config.write_text("model: {class_path: VEA}\n")
    assert main(["fit", str(config)]) == 2
    assert f"{config}: there is no model VEA (did you mean VAE?)" in lines_of(capsys)
    config.write_text("model: VAE\ndata: {name: digit}\n")
    assert main(["fit", "dcgan_digits", f"--config={config}"]) == 2
    assert f"{config}: there is no dataset digit (did you mean digits?)" in lines_of(capsys)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("--model.lattent_dim=3", "--model.lattent_dim is not an option of DCGAN (did you mean --model.latent_dim?)"),
        ("--trainer.max_epoch 3", "--trainer.max_epoch is not an option of fit (did you mean --trainer.max_epochs?)"),
        ("--max_epochs 3", "(did you mean --trainer.max_epochs?)"),
        ("--latent_dim=3", "(did you mean --model.latent_dim?)"),
        ("--nmae x", "(did you mean --name?)"),
        ("--trainer.max_epochs=3 vae_digits", "'vae_digits' is not the value of an option"),
    ],
)
def test_an_unknown_option_of_training(args, words, capsys):
    assert main(["fit", "dcgan_digits", *args.split()]) == 2
    assert words in lines_of(capsys)


def test_an_unknown_key_of_a_configuration_file(tmp_path, capsys):
    config = tmp_path / "own.yaml"
    config.write_text("model: {class_path: DCGAN, init_args: {widht: 3}}\n")
    assert main(["fit", str(config)]) == 2
    assert "--model.widht is not an option of DCGAN (did you mean --model.width?)" in lines_of(capsys)
    config.write_text("model: DCGAN\ntrainer: {max_epoch: 3}\n")
    assert main(["fit", str(config)]) == 2
    assert "(did you mean --trainer.max_epochs?)" in lines_of(capsys)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("evaluate --ckpt x --metric fid", "--metric is not an option of evaluate (did you mean --metrics?)"),
        ("evaluate --ckpt x --num_sample=10", "(did you mean --num_samples?)"),  # not taken for an abbreviation
        ("sample --ckpt x --out y --step 3", "(did you mean --steps?)"),
        (
            "inspect project --ckpt x --itterations 3",
            "is not an option of inspect project (did you mean --iterations?)",
        ),
    ],
)
def test_an_unknown_option_of_another_command(command, words, capsys):
    assert main(command.split()) == 2
    assert words in lines_of(capsys)


def test_names_that_are_no_names_are_left_to_the_parser(capsys):
    for option in ("--sampler=null", "--sampler", "--steps=3"):
        assert main(["sample", "--ckpt=nowhere", "--out=none", option]) == 2
        assert "no sampler" not in lines_of(capsys)


def printed_config(capsys, *args: str) -> dict:
    with pytest.raises(SystemExit) as stop:
        main(["fit", *args, "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_a_configuration_is_named_or_a_file_and_several_compose(tmp_path, capsys):
    config = tmp_path / "own.yaml"
    config.write_text("trainer: {max_epochs: 3}\nmodel: {init_args: {width: 8}}\n")
    named = printed_config(capsys, "dcgan_digits", str(config), "--data.batch_size=7")
    assert named["model"]["class_path"].endswith("DCGAN")
    assert named["model"]["init_args"]["width"] == 8
    assert named["model"]["init_args"]["latent_dim"] == 16
    assert (named["trainer"]["max_epochs"], named["data"]["batch_size"]) == (3, 7)
    options = ["--config", str(CONFIGS / "dcgan_digits.yaml"), f"--config={config}", "--data.batch_size=7"]
    assert printed_config(capsys, *options) == named
    assert printed_config(capsys, "--config=dcgan_digits", "-c", str(config), "--data.batch_size=7") == named
    config.write_text("trainer: {max_epochs: 3}\n")
    last = printed_config(capsys, str(config), "dcgan_digits")
    assert last["trainer"]["max_epochs"] == 110


def test_a_run_is_named_by_the_configuration(tmp_path):
    places = [f"--runs={tmp_path / 'runs'}", f"--data.root={tmp_path}"]
    assert main(["fit", "dcgan_digits", *places, *TINY, "--trainer.max_steps=1", "--fidelity.features=null"]) == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["dcgan_digits"]


def test_the_help_of_fit_begins_with_how_to_see_more(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    begin = " ".join(capsys.readouterr().out.split()[:80])
    for words in ("CONFIG", "lightning-gen list configs", "lightning-gen fit --model.help NAME", "--print_config"):
        assert words in begin
