"""The shell lines of the documentation, and the commands of this package in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^ *```(?:bash|sh)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
OPTIONAL = re.compile(r"\[(--[^\]|]*?)\s*(?:\|[^\]]*)?\]")
"""Options in brackets, of which there may be alternatives: [--image 0 | --at mean]."""
ENTRIES = (("lightning-gen",), ("-m", "lightning_gen"), ("train.py",), ("evaluate.py",))
"""What stands before the name of a command; evaluate.py is the command evaluate."""


class ShellLine(NamedTuple):
    """A line of a page.

    Attributes:
        page: name of the page.
        text: the line, without comments and continuations.
        words: its words.
    """

    page: str
    text: str
    words: list[str]

    @property
    def command(self) -> list[str] | None:
        """The command of this package and its options; None for a line of another program."""
        for entry in ENTRIES:
            for start in range(len(self.words)):
                if tuple(self.words[start : start + len(entry)]) == entry:
                    options = self.words[start + len(entry) :]
                    return ["evaluate", *options] if entry == ("evaluate.py",) else options
        return None


def shell_lines() -> Iterator[ShellLine]:
    """Every line of every block of shell commands, with optional options, split at ``&&``."""
    for page in PAGES:
        for block in FENCE.findall(page.read_text("utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.split("&&"):
                    text = " ".join(OPTIONAL.sub(r"\1", part).split())
                    words = shlex.split(text, comments=True)
                    if words:
                        yield ShellLine(page.name, shlex.join(words), words)
