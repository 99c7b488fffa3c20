"""Adds the README and other files of the repository to the site, and their links with the pages.

The pages are written for a repository's browser, so they link to files outside docs/, and the README links into it.
"""

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
pictures = import_module("gallery")

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files of the repository, and the pages that they become."""
DOWNLOADS = ("scripts/slurm.sbatch", "LICENSE")
"""Files of the repository that pages link to."""
LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)(?=[)#\s])")


def on_files(files: Files, config: Any) -> Files:
    """Add the files of the repository, and the gallery."""
    files.append(File.generated(config, "gallery.md", content=pictures.gallery()))
    for source, target in {**PAGES, **{name: name for name in DOWNLOADS}}.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Make links relative to the page's place on the site."""
    outside = {target: Path(source).parent for source, target in PAGES.items()}
    folder = outside.get(page.file.src_uri, Path("docs") / Path(page.file.src_uri).parent)

    def place(match: re.Match[str]) -> str:
        path = (ROOT / folder / match.group(1)).resolve()
        if not path.is_relative_to(ROOT) or not path.exists():
            return match.group(1)
        inside = path.relative_to(ROOT).as_posix()
        target = PAGES.get(inside, inside.removeprefix("docs/"))
        depth = page.file.src_uri.count("/")
        return "../" * depth + target

    return LINK.sub(place, markdown) + pictures.samples_of(page.file.src_uri)
