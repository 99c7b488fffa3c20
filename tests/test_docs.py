"""The documentation's shell lines: all name what exists, and those that need nothing but the digits are run."""

import re
import shutil
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from lightning_gen.cli import main
from lightning_gen.cli.commands import find_command
from lightning_gen.cli.inspecting import INSPECTIONS, InspectionOptions
from lightning_gen.cli.names import resolve
from lightning_gen.cli.parsing import parse_options, run_function
from lightning_gen.cli.truncating import TruncationOptions
from lightning_gen.types import SamplingOptions
from tests.shell_lines import ROOT, ShellLine, shell_lines

LINES = list({line.text: line for line in shell_lines()}.values())
COMMANDS = [line for line in LINES if line.command]
PLACEHOLDER = re.compile(
    r"\b(my_models|DIR|FILE|FOLDER|RUN|CONFIG|TIME|WHAT|ZIP|NAME)\b|[<*]|\.(zip|png|pth|pt)\b|/data/|\bSet5\b"
)
NEEDS_DATA = re.compile(r"mnist|celeba|cifar|bsds|div2k|df2k|horse2zebra|facades|maps|ffhq|afhq|folder|torchrun|srun")
TAKES_HOURS = re.compile(r"\bsweep\b")
PRINTS_HELP = re.compile(r"--model\.help\b")
"""Options that print and exit; tests/test_cli_options.py runs them."""
STAND_INS = {
    "CONFIG": "dcgan_digits",
    "mine.yaml": "dcgan_digits",
    "WHAT": "reconstruct",
    "runs/dcgan_digits/TIME/config.yaml": "dcgan_digits",
}
"""What replaces words of a line that stand for names of the user's."""
SHORTER = {
    "inpaint": ["--steps=2", "--num=2"],
    "denoising": ["--num=2"],
    "interpolate --between images": ["--steps=2"],
    "ppl": ["--num_samples=8"],
    "nll": ["--num_samples=2"],
    "": ["--num_samples=40"],
}
"""Options that are added to a line, by a part of it; a line's own options stay."""
TINY_FIT = [
    *("--trainer.max_steps=2", "--trainer.max_epochs=-1", "--data.batch_size=32", "--trainer.accelerator=cpu"),
    *("--trainer.enable_progress_bar=false", "--fidelity.features=null", "--samples.num=2", "--wandb.mode=disabled"),
]


def test_the_pages_have_shell_lines():
    assert len(COMMANDS) > 50


@pytest.mark.parametrize("line", [line for line in LINES if not line.command], ids=lambda line: line.text)
def test_a_line_of_another_program_names_files_that_exist(line):
    for word in line.words:
        if word.startswith(("benchmarks/", "scripts/", "configs/", "tests/")):
            assert (ROOT / word).exists(), line.page


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.text)
def test_a_command_line_is_valid(line, fit_parser, monkeypatch):
    monkeypatch.chdir(ROOT)
    name, *options = [STAND_INS.get(word, word) for word in line.command]
    command = find_command(name)
    options = resolve(command, options)
    if {"--help", "--model.help"} & {*options}:
        return
    if command.takes == "options":
        run_function(without_body(command.load()), name, options)
    elif command.takes == "inspection":
        what, *rest = options
        groups = (InspectionOptions, SamplingOptions, TruncationOptions)
        parse_options(INSPECTIONS[what], f"inspect {what}", rest, groups, skip={"subject"})
    elif command.takes == "configs":
        fit_parser.parse_args([name, *(option for option in options if option != "--print_config")])


def without_body(function: Any) -> Any:
    """A function with the same signature that does nothing."""

    @wraps(function)
    def nothing(*args: Any, **kwargs: Any) -> None:
        pass

    return nothing


def can_run(line: ShellLine) -> bool:
    return not any(pattern.search(line.text) for pattern in (PLACEHOLDER, NEEDS_DATA, TAKES_HOURS, PRINTS_HELP))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("docs")


@pytest.mark.parametrize("line", filter(can_run, COMMANDS), ids=lambda line: line.text)
def test_a_command_line_runs(line, place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    name, *options = line.command
    for word in options:
        if match := re.match(r"(?:[a-z_.]+=)?runs/(\w+)", word):
            make_run(match.group(1))
    if name == "fit":
        if "--ckpt_path" in options:
            make_run(Path(options[options.index("--config") + 1]).stem if "--config" in options else options[0])
        options = [*(str(ROOT / word) if word.startswith("configs/") else word for word in options), *TINY_FIT]
    if name in ("evaluate", "inspect"):
        options += shorter(line.text, name == "evaluate")
    if name == "export":
        shutil.rmtree(options[options.index("--to") + 1], ignore_errors=True)
    assert main([name, *options]) == 0


def shorter(text: str, scores: bool) -> list[str]:
    """The options that make a line of evaluate, or of inspect, quick."""
    parts = [part for part in SHORTER if part in text and (part or scores)]
    return [option for option in SHORTER[parts[0]] if option.partition("=")[0] not in text] if parts else []


def make_run(name: str) -> None:
    """Train the configuration of a name for two steps, unless there is a run of that name."""
    if not Path("runs", name).exists():
        assert main(["fit", name, *TINY_FIT]) == 0
