"""Where derived files go, and writing them so that a killed process leaves the old file whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

from lightning_gen.errors import InputError


def cache_dir() -> Path:
    """The user's cache of derived files: ``$LIGHTNING_GEN_CACHE``, or the operating system's usual place."""
    return Path(os.environ.get("LIGHTNING_GEN_CACHE") or user_cache_path("lightning_gen"))


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and move it into place only when the block succeeds.

    Args:
        path: the file to make or replace; its folder is made.

    Yields:
        The temporary path, unique to this process.

    Raises:
        InputError: when the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; name a folder that can be written") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
