"""Bounds of numeric options of the command line, beyond which a command would run out of memory or never end."""

from collections.abc import Mapping
from typing import Any

from lightning_gen.checks import check_at_least, check_at_most, check_numbers
from lightning_gen.environment import MAX_SEED

PICTURE = dict.fromkeys(("columns", "frames", "rows", "side"), 256)
"""Rows and columns of pictures."""
MOST = {
    **PICTURE,
    "batch_size": 1_000_000,
    "draws": 1000,
    "band_draws": 1000,
    "image_size": 16_384,
    "importance_samples": 1_000_000,
    "iterations": 1_000_000,
    "jump": 100_000,
    "k": 1000,
    "num": 10_000_000,
    "num_samples": 10_000_000,
    "overlap": 16_384,
    "resamples": 1000,
    "samples": 100_000,
    "scale": 64,
    "shown": 256,
    "steps": 100_000,
}
"""The largest valid values of the options of commands."""
MOST_OF_CALLBACKS = {**PICTURE, "num": 10_000, "num_samples": 10_000_000, "steps": 256, "batch_size": 1_000_000}
"""The largest valid values of the options of callbacks."""

LEAST: dict[str, dict[str, float]] = {
    "trainer": {
        **dict.fromkeys(("accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes"), 1),
        **dict.fromkeys(("gradient_clip_val", "log_every_n_steps", "min_epochs", "min_steps"), 0),
        "num_sanity_val_steps": -1,
    },
    "last": {"every_n_epochs": 1, "every_n_train_steps": 1, "every_n_minutes": 0.001},
}
"""The smallest valid values of options that the libraries do not check themselves, by section."""


def check_options(options: Mapping[str, Any], prefix: str = "--", most: Mapping[str, int] = MOST) -> None:
    """Check that all numbers are finite, and those of ``most`` not larger than their bound.

    Args:
        options: values of any type by name.
        prefix: put before the option's name.
        most: the bounds.
    """
    check_numbers(options, prefix=prefix)
    for name, value in options.items():
        if name in most and isinstance(value, int):
            check_at_most(most[name], prefix=prefix, note="", **{name: value})


def check_training_options(config: Mapping[str, Any]) -> None:
    """Check the numbers of a configuration, but for those of the model, which its constructor checks.

    Args:
        config: the configuration of a command that trains or tests, with nested mappings.
    """
    for section, value in config.items():
        if section == "model":
            continue
        if isinstance(value, Mapping):
            is_callback = section not in ("data", "trainer", "wandb")
            check_options(value, f"{section}.", MOST_OF_CALLBACKS if is_callback else {})
            for name, least in LEAST.get(section, {}).items():
                check_at_least(least, prefix=f"{section}.", note="", **{name: value.get(name)})
        else:
            check_numbers({section: value}, prefix="--")
    seed = config.get("seed_everything")
    if isinstance(seed, int):
        check_at_least(0, prefix="--", seed_everything=seed)
        check_at_most(MAX_SEED, prefix="--", seed_everything=seed)
