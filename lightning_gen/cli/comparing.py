"""``compare``: runs side by side, as a table, a picture and a page."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import rich
from rich.console import Console

from lightning_gen.cache import atomic
from lightning_gen.cli.outputs import check_empty
from lightning_gen.cli.parsing import parse_options
from lightning_gen.comparison.page import make_page
from lightning_gen.comparison.picture import draw_comparison
from lightning_gen.comparison.runs import Run, read_runs
from lightning_gen.comparison.table import tabulate, to_rich
from lightning_gen.drawing import as_tensor
from lightning_gen.errors import InputError
from lightning_gen.images import save_png

TEXT_WIDTH = 200
"""Characters of a line of the table in a file."""


def compare(args: Sequence[str]) -> None:
    """Compare runs: ``compare RUN [RUN ...] [--out DIR]``.

    Args:
        args: the command's arguments.

    Raises:
        InputError: if no run is named.
    """
    words = list(args)
    options = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    if options == 0 and not {"-h", "--help"} & {*words}:
        raise InputError("name the runs to compare first: compare runs/* [--out DIR]")
    _, named = parse_options(compare_runs, "compare RUN [RUN ...]", words[options:], (), skip={"runs"})
    compare_runs(words[:options], **named)


def compare_runs(runs: Sequence[str], out: Path | None = None) -> None:
    """Compare runs: a table of their settings, durations and scores, curves over images seen, and their pictures.

    RUN is a run's folder, or a folder that contains runs, such as runs/dcgan_digits. The table is printed.

    Args:
        runs: the folders.
        out: a folder for comparison.txt, comparison.png and comparison.html, a page that needs no other file and no
            network. It must be empty or not exist.
    """
    if out is not None:
        check_empty(out)
    found = read_runs([Path(run) for run in runs])
    console = rich.get_console()
    console.print(to_rich(tabulate(found), console.width))
    if out is not None:
        for path in write_comparison(found, out):
            print(path)


def write_comparison(runs: Sequence[Run], out: Path) -> list[Path]:
    """Write a comparison as text, as a picture and as a page.

    Args:
        runs: the runs.
        out: the folder.

    Returns:
        The files.
    """
    text = StringIO()
    Console(file=text, width=TEXT_WIDTH).print(to_rich(tabulate(runs), TEXT_WIDTH))
    files = [out / f"comparison.{suffix}" for suffix in ("txt", "png", "html")]
    for path, content in ((files[0], text.getvalue()), (files[2], make_page(runs))):
        with atomic(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    save_png(as_tensor(draw_comparison(runs)), files[1])
    return files
