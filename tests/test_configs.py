"""Every configuration states only what differs from a default, and ends after a number of epochs or steps."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import Namespace

from lightning_gen.cli.catalogue import configs
from lightning_gen.evaluation.directions import direction_of
from lightning_gen.sweeps.definition import read_sweep
from tests.cases import CASES

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))
every_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def repeated_defaults(fit_parser) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Maps a configuration to its keys that repeat a default, with their values."""

    @cache
    def defaults(class_path: str) -> Namespace:
        return fit_parser.parse_object({"fit": {"model": {"class_path": class_path}}}).fit

    def repeated(config: dict[str, Any]) -> dict[str, Any]:
        stated = fit_parser.parse_object({"fit": config}, defaults=False).fit
        default = defaults(stated.model.class_path)
        keys = (key for key in stated.keys() if key != "model.class_path" and key in default)  # noqa: SIM118
        return {key: stated[key] for key in keys if stated[key] == default[key]}

    return repeated


@every_config
def test_a_config_repeats_no_default(path, repeated_defaults):
    repeated = repeated_defaults(yaml.safe_load(path.read_text()))
    lines = [f"{path.relative_to(ROOT)}: {key} repeats the default {value!r}" for key, value in repeated.items()]
    assert not lines, "\n".join(["remove the keys that repeat a default:", *lines])


@every_config
def test_a_config_ends_after_a_number_of_epochs_or_steps(path):
    trainer = yaml.safe_load(path.read_text())["trainer"]
    name = path.relative_to(ROOT)
    assert "max_time" not in trainer, f"{name}: trainer.max_time makes the result depend on the machine's speed"
    assert trainer.keys() & {"max_epochs", "max_steps"}, f"{name}: set trainer.max_epochs or trainer.max_steps"


@pytest.mark.parametrize("short", [False, True], ids=["import path", "class name"])
def test_defaults_are_found_wherever_they_are_stated(short, repeated_defaults):
    [model] = [case.model for case in CASES if "dcgan_digits" in case.configs]
    repeated = {
        "model": {"hidden": [256, 128], "n_critic": 1, "ema_half_life": None},  # of the class and of its bases
        "data": {"root": "data"},
        "trainer": {"max_steps": -1, "log_every_n_steps": 10},  # Lightning's and the command line's own
        "samples": {"num": 64},
        "watchdog": {"action": "warn"},
        "wandb": {"log_model": False},
        "last": {"every_n_train_steps": None},
        "seed_everything": 0,
    }
    config = {
        **repeated,
        "model": {
            "class_path": model.__name__ if short else f"{model.__module__}.{model.__qualname__}",
            "init_args": {**repeated["model"], "width": 8},
        },
        "data": {**repeated["data"], "image_size": 16},
        "trainer": {**repeated["trainer"], "max_epochs": 3, "num_sanity_val_steps": 2},
    }
    assert repeated_defaults(config).keys() == {
        *(f"model.init_args.{key}" for key in repeated["model"]),
        *(
            f"{group}.{key}"
            for group in ("data", "trainer", "samples", "watchdog", "wandb", "last")
            for key in repeated[group]
        ),
        "seed_everything",
    }


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_varies_options_of_its_config(path, fit_parser):
    sweep = yaml.safe_load(path.read_text())
    local = read_sweep(path)
    [config, option] = local.fit_options({"a": 1})
    assert option == "--a=1"
    bounds = {
        key: (p["values"][0], p["values"][-1]) if "values" in p else (p["min"], p["max"])
        for key, p in sweep["parameters"].items()
    }
    for end in (0, 1):
        options = [f"--{key}={values[end]}" for key, values in bounds.items()]
        parsed = fit_parser.parse_args(["fit", "--config", str(configs()[config]), *options]).fit
        for key, values in bounds.items():
            assert parsed[key.replace("model.", "model.init_args.")] == values[end]
    assert sweep["metric"].get("goal") != "minimize", f"{path.relative_to(ROOT)}: metric.goal repeats wandb's default"
    higher = direction_of(local.metric.removeprefix("fidelity/")) == "higher"
    assert local.maximize == higher
