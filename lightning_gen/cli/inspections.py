"""The name of an inspection on the command line of ``inspect``."""

from collections.abc import Sequence

from lightning_gen.cli.catalogue import inspections
from lightning_gen.cli.suggestions import did_you_mean
from lightning_gen.errors import InputError

PATH_OPTIONS = ("--ckpt", "--out", "--root", "--psnr_ckpt", "--lpips_weights")
"""Options whose value may be equal to the name of an inspection."""
HELP = {"-h", "--help"}


def name_first(words: Sequence[str]) -> list[str]:
    """Move the name of the inspection to the front of a command line.

    Args:
        words: the command line, with the name at any position.

    Returns:
        The name and the other words; only ``--help`` where help is asked for without a name.

    Raises:
        InputError: if no inspection is named.
    """
    names = inspections()
    places = [i for i, word in enumerate(words) if word in names and (i == 0 or words[i - 1] not in PATH_OPTIONS)]
    if places:
        return [words[places[0]], *words[: places[0]], *words[places[0] + 1 :]]
    if HELP & {*words}:
        return ["--help"]
    is_value = [False, *(word.startswith("-") and "=" not in word for word in words)]
    others = [
        word for word, value in zip(words, is_value, strict=False) if word and not value and not word.startswith("-")
    ]
    if others:
        raise InputError(
            f"there is no inspection {others[0][:40]}{did_you_mean(others[0], names)}; the inspections are "
            f"{', '.join(names)}"
        )
    raise InputError(f"name what to inspect, one of {', '.join(names)}: inspect --ckpt CKPT WHAT [options]")


def usage() -> str:
    """The help of ``inspect`` without a name."""
    return f"usage: lightning-gen inspect WHAT --ckpt CKPT [--help] ...\nWHAT: {', '.join(inspections())}"
