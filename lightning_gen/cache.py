"""The cache folder for derived files, and atomic writes: a killed process or a full disk leaves the old file whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from platformdirs import user_cache_path

from lightning_gen.errors import InputError

DAMAGE = (AttributeError, EOFError, KeyError, OSError, OverflowError, RecursionError, TypeError, ValueError)
"""What reading a damaged file of derived data may raise."""


def cache_dir() -> Path:
    """The user's cache folder: ``$LIGHTNING_GEN_CACHE``, default: the operating system's cache folder."""
    return Path(os.environ.get("LIGHTNING_GEN_CACHE") or user_cache_path("lightning_gen"))


def check_writable(folder: Path) -> None:
    """Create a folder of the cache unless it exists, and check that files can be written to it.

    Args:
        folder: the folder.

    Raises:
        InputError: if it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write the cache {folder} ({error.strerror}); set LIGHTNING_GEN_CACHE to a folder that can be "
            "written"
        ) from None


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file atomically: yields a temporary path, which replaces ``path`` when the block succeeds.

    Args:
        path: file to create or replace; its folder is created.

    Yields:
        The temporary path in the same folder, unique to this process.

    Raises:
        InputError: when the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        yield temporary
        synchronize(temporary)
        temporary.replace(path)
        synchronize(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose a writable folder") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def synchronize(path: Path) -> None:
    """Write a file's data, or a folder's entries, to the disk, so that they survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Remove the temporary files that killed processes of this machine left in a folder. Those of live ones stay."""
    for path in folder.glob(".*.tmp"):
        *_, process, _ = path.name.split(".")
        if path.is_file() and not path.is_symlink() and process.isdigit() and not is_running(int(process)):
            with suppress(OSError):
                path.unlink()


def is_running(process: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
