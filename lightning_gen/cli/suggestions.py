"""The nearest valid name to one that is not valid."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

CUTOFF = 0.6
"""The smallest similarity of a name that is suggested; 1 is equality, as difflib measures it."""


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Find the valid name that is most similar to another; case, hyphens and underscores do not count.

    Args:
        name: any text.
        choices: the valid names.

    Returns:
        One of the choices, or None if none is similar.
    """
    names = {simplify(choice): choice for choice in choices}
    found = get_close_matches(simplify(name), names, n=1, cutoff=CUTOFF)
    return names[found[0]] if found else None


def simplify(name: str) -> str:
    """A name in lower case, without hyphens, underscores and blanks."""
    return re.sub(r"[-_\s]", "", name.casefold())


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """The part of a message that suggests a name: `` (did you mean NAME?)``, or nothing."""
    found = nearest(name, choices)
    return "" if found is None else f" (did you mean {found}?)"
