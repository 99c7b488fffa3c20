"""The boundary between errors of the input, which are one line, and errors of this package, which keep a traceback."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from jsonargparse import ArgumentError
from lightning_fabric.utilities.exceptions import MisconfigurationException

from lightning_gen.cli.messages import clip, clip_words, one_line
from lightning_gen.errors import InputError

ENVIRONMENT_ERRORS = {
    *(
        errno.EACCES,
        errno.EDQUOT,
        errno.EIO,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.ENOTDIR,
    ),
    *(errno.EPERM, errno.EROFS),
}
"""Errors of the operating system that no change of this package's code would mend."""


def user_message(error: BaseException) -> str | None:
    """The message of an error that the input or the machine caused.

    Args:
        error: an exception. The cause of one that the parser raised may be an :class:`InputError`.

    Returns:
        One line, or None for an error with another cause.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return one_line(clip_words(str(cause)))
        cause = cause.__cause__
    if isinstance(error, MisconfigurationException | ArgumentError):
        return clip(one_line(clip_words(str(error))))
    if isinstance(error, OSError) and error.errno in ENVIRONMENT_ERRORS:
        return clip_words(f"{error.filename or 'a file cannot be written'}: {error.strerror}")
    return None


@contextmanager
def option_errors(section: str) -> Iterator[None]:
    """Report the errors of a library's constructor, whose arguments are all options, as errors of the input.

    Args:
        section: the options' common name, such as ``trainer``.

    Yields:
        Nothing.

    Raises:
        InputError: for any error that the library raises for an argument.
    """
    try:
        yield
    except (InputError, MisconfigurationException):
        raise
    except (ValueError, TypeError, AttributeError, ImportError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{section}: {clip(one_line(str(error)) or type(error).__name__)}") from error
