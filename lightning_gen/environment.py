"""Checks of environment variables that libraries read when they are imported. This module imports none of them."""

import os

from lightning_gen.errors import InputError

MAX_SEED = 2**32 - 1
"""The largest seed that NumPy's global generator takes."""
MAX_PROCESSES = 2**20
COUNTS = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS")
"""Variables that are whole numbers of at least 1."""
INDICES = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
"""Variables that are whole numbers of at least 0."""
RANGES = {
    **dict.fromkeys(COUNTS, (1, MAX_PROCESSES)),
    **dict.fromkeys(INDICES, (0, MAX_PROCESSES)),
    "MASTER_PORT": (0, 65535),
    "PL_GLOBAL_SEED": (0, MAX_SEED),
}
WANDB_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")


def check_environment() -> None:
    """Check the variables that say how many processes there are, the seed, and the mode of W&B.

    A variable that is not set, or empty, is not checked.

    Raises:
        InputError: for the first invalid value.
    """
    for name, (least, most) in RANGES.items():
        whole_number(name, least, most)
    rank, world_size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank and world_size and int(rank) >= int(world_size):
        raise InputError(f"the environment variable RANK is {rank}; it must be below WORLD_SIZE {world_size}")
    mode = os.environ.get("WANDB_MODE")
    if mode and mode not in WANDB_MODES:
        raise InputError(f"the environment variable WANDB_MODE is {mode!r}; it must be one of {', '.join(WANDB_MODES)}")


def whole_number(name: str, least: int, most: int) -> int | None:
    """Read a whole number from the environment.

    Args:
        name: the variable.
        least: the smallest valid value.
        most: the largest valid value.

    Returns:
        The number; None where the variable is not set or empty.

    Raises:
        InputError: if it is anything else.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 20 or not least <= int(text) <= most:
        raise InputError(
            f"the environment variable {name} is {text[:40]!r}; it must be a whole number from {least} to {most}"
        )
    return int(text)


def global_seed() -> int:
    """The seed of ``seed_everything``, which Lightning stores in the environment; 0 where it was not called."""
    return whole_number("PL_GLOBAL_SEED", 0, MAX_SEED) or 0
