"""What options may be."""

from lightning_gen.errors import InputError


def at_least(least: int, **options: int) -> None:
    """Refuse options that are too small.

    Args:
        least: the smallest value that is of use.
        **options: values by name.

    Raises:
        InputError: naming the first that is smaller.
    """
    for name, value in options.items():
        if value < least:
            raise InputError(f"--{name} is {value}; it must be at least {least}")
