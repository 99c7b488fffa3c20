"""Options of iterative generation on the command line: sample, evaluate and inspect."""

import json
from pathlib import Path

import pytest
import torch

from lightning_gen.cli import generation, main
from lightning_gen.models.checkpoint import load_model

CONFIG = str(Path(__file__).parent.parent / "configs" / "edm_conditional_digits.yaml")
TINY = ["--model.width=4", "--model.multipliers=[1,2]", "--model.attention=[]", "--trainer.enable_progress_bar=false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("generation")
    options = [f"--runs={place / 'runs'}", f"--data.root={place / 'data'}", "--trainer.max_steps=2", *TINY]
    assert main(["fit", "--config", CONFIG, *options, "--trainer.accelerator=cpu", "--fidelity.features=null"]) == 0
    [folder] = (place / "runs" / "edm_conditional_digits").iterdir()
    return folder


@pytest.fixture(scope="module")
def unconditional(run, tmp_path_factory) -> Path:
    """The same checkpoint without class conditioning."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["conditional"] = False
    for name in list(checkpoint["state_dict"]):
        if name.endswith("condition.classes.weight"):
            del checkpoint["state_dict"][name]
    path = tmp_path_factory.mktemp("unconditional") / "last.ckpt"
    torch.save(checkpoint, path)
    return path


def test_samples_depend_on_the_sampling_options_alone(run, tmp_path):
    def generate(name, *options):
        out = tmp_path / name
        assert (
            main(["sample", "--ckpt", str(run), f"--out={out}", "--num=3", "--device=cpu", "--labels=3", *options]) == 0
        )
        return (out / "000001.png").read_bytes()

    options = ["--sampler=stochastic_heun", "--steps", "4", "--churn", "10"]
    default = generate("a")
    assert default == generate("b", "--sampler", "heun", "--steps", "10", "--guidance", "1")
    churned = generate("c", *options)
    assert churned == generate("d", *options, "--batch_size=1")
    assert len({default, churned, generate("e", "--steps=2"), generate("f", "--sampler=adaptive")}) == 4
    guided = ["--steps", "4", "--guidance", "4"]
    assert generate("g", *guided, "--guidance_interval", "500", "900") == generate("h", "--steps", "4")


def test_a_score_card_states_the_sampling_options_and_each_choice_has_its_own_file(run, capsys):
    common = ["evaluate", "--ckpt", str(run), "--metrics", "fid", "--num_samples", "8", "--device=cpu"]
    assert main([*common, "--steps", "2"]) == 0
    assert (
        main(
            [
                *common,
                "--sampler",
                "ddim",
                "--steps",
                "3",
                "--eta",
                "1",
                "--guidance",
                "2",
                "--guidance_interval",
                "0",
                "5",
            ]
        )
        == 0
    )
    cards = {path.name: json.loads(path.read_text())["drawn"] for path in (run / "evaluation").glob("last_*.json")}
    assert sorted(cards.values()) == [
        "ddim, 3 steps, karras, eta 1, guidance 2, from 0 to 5",
        "heun, 2 steps, karras",
    ]
    assert "drawn by ddim, 3 steps" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sampler", "nonsense"], "there is no sampler nonsense; the samplers are adaptive, ancestral"),
        (["--sampler", "multistep"], "multistep does not support EDM; those that do are ancestral"),
        (["--steps", "0"], "steps is 0"),
        (["--spacing", "trailing"], "EDM has no spacing trailing; it has karras"),
        (["--guidance", "-1"], "guidance is -1.0"),
        (["--guidance_interval", "3", "1"], "guidance_interval is 3 to 1"),
        (["--guidance_interval", "3"], "guidance_interval"),
    ],
)
@pytest.mark.parametrize("command", ["sample", "evaluate", "inspect"])
def test_invalid_sampling_options_are_one_clear_line(run, tmp_path, capsys, command, options, words):
    common = ["--ckpt", str(run), "--device=cpu"]
    args = {
        "sample": ["sample", *common, f"--out={tmp_path / 'out'}"],
        "evaluate": ["evaluate", *common],
        "inspect": ["inspect", "neighbours", *common],
    }[command]
    assert main([*args, *options]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert words in line


def test_guidance_of_an_unconditional_model_and_steps_without_a_model_are_refused(unconditional, capsys):
    out = unconditional.parent / "out"
    assert load_model(unconditional).num_classes == 0
    assert main(["sample", "--ckpt", str(unconditional), f"--out={out}", "--device=cpu", "--guidance", "2"]) == 2
    assert "guidance is given, and this EDM is unconditional" in capsys.readouterr().err
    folder = ["evaluate", "--generated", str(out), "--reference", str(out), "--steps", "5"]
    assert main(folder) == 2
    assert "name its --ckpt" in capsys.readouterr().err


def test_a_progress_bar_is_shown_on_a_terminal(run, monkeypatch, capsys):
    model = load_model(run / "checkpoints" / "last.ckpt")
    with generation.progress_bar(model, 4):
        assert model.progress_callback is None  # no terminal
    monkeypatch.setenv("FORCE_COLOR", "1")
    with generation.progress_bar(model, 4):
        model.sample(4)
    assert model.progress_callback is None
    assert "4/4" in capsys.readouterr().err
