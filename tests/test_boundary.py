"""Invalid input is one short line and exit code 2, whatever the option; errors of this package keep their traceback."""

import contextlib
import io
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning_fabric.utilities.exceptions import MisconfigurationException

import lightning_gen.cli
from lightning_gen.cli import main
from lightning_gen.cli.boundary import option_errors, user_message
from lightning_gen.cli.commands import COMMANDS
from lightning_gen.cli.hints import name_flags
from lightning_gen.cli.inspecting import INSPECTIONS, InspectionOptions
from lightning_gen.cli.library_messages import HELD, HeldWarnings, ReleaseWarnings
from lightning_gen.cli.messages import MAX_LENGTH, one_line
from lightning_gen.cli.runs import new_run_folder
from lightning_gen.cli.training import TrainingCLI
from lightning_gen.environment import check_environment
from lightning_gen.errors import InputError
from tests.test_cli import CONFIGS, ROOT

DIGITS = CONFIGS / "dcgan_digits.yaml"


def line_of(args: list[str], capsys: Any) -> str:
    """The one line that a command prints on stderr for invalid input."""
    assert main(args) == 2, args
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1, printed
    assert len(printed) <= MAX_LENGTH + len("error: \n"), printed
    return printed


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--trainer.devices=x", "trainer: `devices`"),
        ("--trainer.devices=1000", "trainer.devices is 1000 processes"),
        ("--trainer.accelerator=warp", "trainer: You selected an invalid accelerator name"),
        ("--trainer.strategy=magic", "trainer.strategy is magic; every model trains with ddp"),
        ("--trainer.precision=13", "trainer.precision is 13; it must be 64, 32, 16"),
        ("--trainer.precision=transformer-engine", "trainer: Requirement"),
        ("--trainer.num_nodes=0", "trainer.num_nodes is 0; it must be at least 1"),
        ("--trainer.gradient_clip_val=.nan", "trainer.gradient_clip_val is nan; it must be finite"),
        ("--trainer.gradient_clip_val=-1", "trainer.gradient_clip_val is -1; it must not be negative"),
        ("--trainer.barebones=true", "trainer: `Trainer(barebones=True"),
        ("--trainer.callbacks=[1,2]", "trainer.callbacks is 1; it must be a path, the import path of a class or null"),
        ("--model.augment=[blur]", "model.augment is blur; it must be color, translation, cutout or ada"),
        ("--model.ema_half_life=.inf", "model.ema_half_life is inf; it must be finite"),
        ("--model.init_args=5", "model.init_args must be a mapping"),
        ("--data.channels=2", "data.channels is 2; it must be 1, 3 or null"),
        ("--samples.num=1000000000000", "samples.num is 1000000000000; it must be at most 10,000"),
        ("--last.every_n_epochs=0", "last.every_n_epochs is 0; it must be at least 1"),
        ("--seed_everything=-1", "--seed_everything is -1; it must not be negative"),
        ("--seed_everything=99999999999", "--seed_everything is 99999999999; it must be at most"),
        ("--name=../escape", "--name is '../escape'; it must name a folder below --runs"),
        ("--name=/absolute", "--name is '/absolute'; it must name a folder below --runs"),
        (f"--name={'n' * 256}", "more than 255 bytes"),
        (f"--runs={'n' * 256}", "File name too long"),
        (f"--ckpt_path={'n' * 256}", "File name too long"),
    ],
)
def test_a_bad_option_of_training(option, words, tmp_path, capsys):
    runs = [] if option.startswith("--runs") else [f"--runs={tmp_path / 'runs'}"]
    accelerator = [] if option.startswith("--trainer.accelerator") else ["--trainer.accelerator=cpu"]
    command = ["fit", "--config", str(DIGITS), "--fidelity.features=null", *runs, *accelerator, option]
    assert words in line_of(command, capsys)
    assert not [*tmp_path.rglob("*.*")]


@pytest.mark.parametrize("name", ["../escape", "a/../../b", "/abs", "", ".", "a\nb", "n" * 256, "é" * 128])
def test_a_name_that_leaves_the_folder_of_runs(name, tmp_path):
    with pytest.raises(InputError, match="--name"):
        new_run_folder(tmp_path, name)


def test_a_name_may_have_several_parts(tmp_path):
    assert new_run_folder(tmp_path, "a/b c").parent == tmp_path / "a" / "b c"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{previous}'] * 9)}]\n"
    for previous, name in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB, "aliases stand for more than 100,000 values"),
        ("a: &a [*a]\n", "an alias in it contains itself"),
        ("a: " + "[" * 5000 + "]" * 5000, "nesting"),
        ("name: été\n".encode("latin-1"), "is not UTF-8 text (byte 6)"),
        (bytes(range(256)), "is not UTF-8 text"),
        ("- 1\n- 2\n", "config.yaml holds no mapping"),
        ("hello", "config.yaml holds no mapping"),
        ("model:\n\tx: 3\n", "config.yaml is not YAML"),
        ('model: !!python/object/apply:os.system ["echo"]\n', "os.system"),
        (None, "is a pipe or a device"),
    ],
)
def test_a_configuration_that_is_none(content, words, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.monotonic()
    for option in (["--config", str(path)], [f"--config={path}"]):
        assert words in line_of(["fit", *option], capsys)
    assert time.monotonic() - start < 20


def test_a_value_of_the_command_line_is_no_bomb_either(capsys):
    value = "{" + BOMB.strip().replace("\n", ", ") + "}"
    assert "aliases stand for" in line_of(["fit", "--model=DCGAN", f"--trainer={value}"], capsys)


def test_aliases_of_a_sensible_configuration_are_kept(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text("model: {class_path: DCGAN, init_args: {generator_lr: &lr 0.001, discriminator_lr: *lr}}\n")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(path), "--print_config"])
    assert stop.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["discriminator_lr"] == 0.001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("PL_GLOBAL_SEED", "WORLD_SIZE", "RANK", "LOCAL_RANK") for value in ("x", "-1")],
        *[
            ("PL_GLOBAL_SEED", str(2**32)),
            ("WORLD_SIZE", "0"),
            ("RANK", "1.0"),
            ("RANK", "²"),
            ("MASTER_PORT", "99999"),
        ],
        *[("WANDB_MODE", "sometimes"), ("SLURM_NTASKS", "many"), ("NODE_RANK", "9" * 1000)],
    ],
)
def test_a_nonsense_value_in_the_environment(name, value, monkeypatch, capsys):
    monkeypatch.setenv(name, value)
    assert f"the environment variable {name} is " in line_of(["evaluate", "--ckpt=nowhere"], capsys)


def test_ranks_in_the_environment_must_agree(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "RANK is not set" in line_of(["evaluate", "--ckpt=nowhere"], capsys)
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(InputError, match="RANK is 2; it must be below WORLD_SIZE 2"):
        check_environment()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WANDB_MODE", "")
    check_environment()


def test_the_environment_is_checked_before_libraries_read_it():
    environment = os.environ | {"RANK": "x", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "train.py", "fit"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the environment variable RANK is 'x'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), FileNotFoundError(2, "gone", "ours"), TypeError()])
def test_errors_of_this_package_keep_their_traceback(error, monkeypatch):
    def fail(args: Any) -> None:
        raise error

    monkeypatch.setattr("lightning_gen.cli.inspecting.inspect", fail)
    with pytest.raises(type(error)):
        main(["inspect", "mix"])


def test_errors_of_the_machine_are_one_line(monkeypatch, capsys):
    def fail(args: Any) -> None:
        raise OSError(28, "No space left on device", "runs/x")

    monkeypatch.setattr("lightning_gen.cli.inspecting.inspect", fail)
    assert line_of(["inspect", "mix"], capsys) == "error: runs/x: No space left on device\n"


@pytest.mark.parametrize("error", [None, InputError("x"), KeyError("x")])
def test_warnings_of_libraries_are_not_shown_before_an_error_of_the_input(error, monkeypatch, capsys):
    def work(args: Any) -> None:
        warnings.warn_explicit("from a library", UserWarning, "library.py", 1)
        warnings.warn_explicit("from this package", UserWarning, lightning_gen.cli.__file__, 1)
        if error is not None:
            raise error

    monkeypatch.setattr("lightning_gen.cli.inspecting.inspect", work)
    show = warnings.showwarning
    with warnings.catch_warnings(record=True) as shown:
        with pytest.raises(KeyError) if isinstance(error, KeyError) else contextlib.nullcontext():
            assert main(["inspect", "mix"]) == (0 if error is None else 2)
        messages = [str(warning.message) for warning in shown]
    assert messages == ["from this package", *["from a library"] * (not isinstance(error, InputError))]
    assert warnings.showwarning is show


def test_held_warnings_are_shown_after_the_first_batch():
    shown: list[str] = []
    held = HeldWarnings(lambda message, *_: shown.append(message))
    held("first", UserWarning, "library.py", 1)
    assert shown == []
    token = HELD.set(held)
    ReleaseWarnings().on_train_batch_end()
    HELD.reset(token)
    held("second", UserWarning, "library.py", 1)
    assert shown == ["first", "second"]


@pytest.mark.parametrize(
    ("command", "message", "shown"),
    [
        ("fit", "data.root is x", "--data.root is x"),
        ("fit", "set data.drop_last to false", "set --data.drop_last to false"),
        ("fit", "name data.root, or set data.download to true", "name --data.root, or set --data.download true"),
        ("fit", "data.zip, my/data.root, data.root/x, --data.root", "data.zip, my/data.root, data.root/x, --data.root"),
        ("evaluate", "data.root is x", "--root is x"),
        ("inspect", "name data.root, or set data.download to true", "name --root"),
        ("evaluate", "data.inputs is grey", "data.inputs is grey"),
    ],
)
def test_options_of_the_data_are_flags_of_the_command(command, message, shown):
    assert name_flags(message, COMMANDS[command]) == shown


def test_a_missing_folder_of_images_is_named_by_its_flag(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--data.root=gone", "--trainer.accelerator=cpu"]
    line = line_of(["fit", "dcgan_folder", *options], capsys)
    assert "--data.root is gone, which does not exist; name a folder or .zip of images" in line
    assert "set --data.download true" in line_of(["fit", "dcgan_mnist", *options], capsys)


def test_errors_of_a_constructor_of_a_library_are_of_its_options():
    with pytest.raises(InputError, match=r"trainer: two lines"), option_errors("trainer"):
        raise TypeError("two\n lines")
    with pytest.raises(MisconfigurationException), option_errors("trainer"):
        raise MisconfigurationException("kept")


def test_a_nested_report_of_the_parser_is_reduced_to_its_innermost_key():
    report = """Parser key "model":
  Does not validate against any of the Union subtypes
  Errors:
    - Problem with given class_path 'lightning_gen.models.DCGAN':
        Parser key "clip":
          Does not validate against any of the Union subtypes
          Errors:
            - Expected a <class 'float'>
            - Expected a <class 'NoneType'>
          Given value type: <class 'str'>
          Given value: much
    - Expected a <class 'list'>
  Given value: NestedArg(key='clip', val='much')"""
    assert one_line(report) == "model.clip is much; it must be a number or null"
    assert one_line("Parser key \"num\":\n  Expected a <class 'int'>. Got value: x") == (
        "--num is x; it must be a whole number"
    )
    assert one_line("several\n  lines") == "several lines"


# ---- any value for any option

HOSTILE = st.one_of(
    st.integers(),
    st.floats(),
    st.integers(min_value=10**6).map(lambda value: 10**12 * value),
    st.sampled_from(["", "null", "nan", ".nan", "inf", "-.inf", "true", "[]", "{}", "[1, x]", "{a: 1}", "&a [*a]"]),
    st.sampled_from(["/dev/zero", "/", "..", "n" * 300, "1e400", "0x", "-", "--", "!!python/name:x", "'", "[["]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)
VARIED = ["sample", "evaluate", "translate", *(f"inspect {name}" for name in INSPECTIONS)]
NO_WORK = {"evaluate": {"generated", "reference"}}
"""Options that are not varied, because a valid value of them would start work."""


def outcome(function: Callable[[], Any]) -> None:
    """Check that a call succeeds, or fails with one line for the user."""
    code: Any = 0
    try:
        function()
    except SystemExit as stop:
        code = stop.code
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        code = 2 if "\n" not in message and (len(message) <= MAX_LENGTH or "the models are" in message) else message
    assert code in (0, 2)


def options_of(command: str) -> list[str]:
    """All options of a command that is a function."""
    name = command.removeprefix("inspect ")
    function = INSPECTIONS[name] if command.startswith("inspect") else COMMANDS[name].load()
    names = [*function.__annotations__, *(InspectionOptions.__annotations__ if "inspect" in command else ())]
    names += ["steps", "sampler", "eta", "churn", "guidance", "guidance_interval", "truncation", "truncated_layers"]
    return sorted({*names} - {"return", "subject", "sampling", "style_options"} - NO_WORK.get(command, set()))


FAST = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@FAST
@given(data=st.data())
def test_any_value_of_any_option_of_a_command(data, tmp_path_factory):
    command = data.draw(st.sampled_from(VARIED))
    option, value = data.draw(st.sampled_from(options_of(command))), data.draw(HOSTILE)
    folder = tmp_path_factory.mktemp("x")
    paths = [f"--ckpt={folder / 'none.ckpt'}"] if option != "ckpt" else []
    if command in ("sample", "translate") and option != "out":
        paths.append(f"--out={folder / 'out'}")
    if command == "translate" and option != "input":
        paths.append(f"--input={folder}")
    with contextlib.chdir(folder):
        error = _stderr(lambda: main([*command.split(), *paths, f"--{option}={value}"]))
    assert error.count("\n") <= 1, error
    assert len(error) <= MAX_LENGTH + len("error: \n"), error


def _stderr(function: Callable[[], int]) -> str:
    """What a command prints on stderr, which must exit with 0 or 2."""
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = function()
        except SystemExit as stop:
            code = stop.code
    assert code in (0, 2)
    return stream.getvalue()


@pytest.fixture(scope="module")
def training() -> tuple[TrainingCLI, list[str]]:
    """The command line of training, whose parser takes long to build, and the names of its options."""

    class StopError(Exception):
        pass

    stopped = []

    class Stopped(TrainingCLI):
        def before_instantiate_classes(self) -> None:
            stopped.append(self)
            raise StopError

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(StopError):
        patch.setattr("lightning_gen.cli.training.TrainingCLI", Stopped)
        main(["fit", "--config", str(DIGITS)])
    [cli] = stopped
    return cli, sorted({*flatten(cli.config.as_dict()["fit"])} - {"config"})


def flatten(config: Any, prefix: str = "") -> list[str]:
    names = []
    for name, value in config.items():
        names += [f"{prefix}{name}"] if not isinstance(value, dict) else flatten(value, f"{prefix}{name}.")
    return names


@FAST
@given(data=st.data())
def test_any_value_of_any_option_of_training(data, training):
    cli, names = training
    option, value = data.draw(st.sampled_from(names)).replace("init_args.", ""), data.draw(HOSTILE)
    args = ["fit", "--config", str(DIGITS), f"--{option}={value}"]
    outcome(lambda: cli.parse_arguments(cli.parser, args))
