"""The comparison as one HTML page that refers to no other file and loads nothing from a network."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from lightning_gen.comparison.charts import DARK, LIGHT, draw_curves, to_svg
from lightning_gen.comparison.runs import Run
from lightning_gen.comparison.table import Grid, tabulate

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What a browser may load: nothing but what stands in the page."""
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --faint: #59636e; --line: #d8dee4; --page: #ffffff; --hover: #f6f8fa }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --faint: #9198a1; --line: #30363d; --page: #0d1117; --hover: #161b22 }
}
body { margin: 2rem auto; max-width: 75rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--page) }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.table { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
td.number, th.number { text-align: right } tbody tr:hover { background: var(--hover) }
th button { all: unset; cursor: pointer; font-weight: 600 } th button:focus-visible { outline: 2px solid }
th[aria-sort=ascending] button::after { content: " ▲" } th[aria-sort=descending] button::after { content: " ▼" }
.note { color: var(--faint); font-size: .9rem }
.charts img { max-width: 100% }
.grids { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1.5rem }
figure { margin: 0 } figure img { width: 100%; border: 1px solid var(--line) }
figcaption { overflow-wrap: anywhere }
"""
SCRIPT = """
document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
  const head = button.closest("th"), body = head.closest("table").tBodies[0];
  const ascending = head.getAttribute("aria-sort") !== "ascending", column = head.cellIndex;
  const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if ((x === "") !== (y === "")) return x === "" ? 1 : -1;  // empty cells come last
    const order = head.classList.contains("number") ? x - y : x.localeCompare(y);
    return ascending ? order : -order;
  };
  [...body.rows].sort(compare).forEach((row) => body.append(row));
  head.parentElement.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
}));
"""
TYPES: Mapping[str, str] = {".png": "image/png", ".svg": "image/svg+xml"}


def make_page(runs: Sequence[Run]) -> str:
    """The page: the table, which can be sorted, the curves, and the newest pictures side by side.

    Args:
        runs: the runs.

    Returns:
        HTML.
    """
    title = f"Comparison of {len(runs)} run{'s' * (len(runs) != 1)}"
    parts = [f"<h1>{title}</h1>", table_html(tabulate(runs)), charts_html(runs), pictures_html(runs)]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
{"".join(parts)}
<script>{SCRIPT}</script>
</body>
</html>
"""


def table_html(grid: Grid) -> str:
    """The table, whose columns' names are buttons that sort it."""
    kinds = ["number" if any(row[i].value is not None for row in grid.rows) else "" for i in range(len(grid.columns))]
    head = "".join(
        f'<th scope="col" class="{kind}"><button type="button">{breakable(name)}</button></th>'
        for name, kind in zip(grid.columns, kinds, strict=True)
    )
    rows = [
        "".join(
            f'<td class="{kind}"{"" if cell.value is None else f" data-value={cell.value!r}"}>{escape(cell.text)}</td>'
            for cell, kind in zip(row, kinds, strict=True)
        )
        for row in grid.rows
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in grid.notes)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>{notes}\n'


def breakable(name: str) -> str:
    """A name as HTML that may be broken after each underscore and before each at sign."""
    return escape(name).replace("_", "_<wbr>").replace("@", "<wbr>@")


def charts_html(runs: Sequence[Run]) -> str:
    """The curves, in the colours of a light and of a dark page; empty without any."""
    light, dark = (draw_curves(runs, theme) for theme in (LIGHT, DARK))
    if light is None or dark is None:
        return ""
    dark_source = f'<source media="(prefers-color-scheme: dark)" srcset="{data_uri(to_svg(dark), ".svg")}">'
    image = f'<img src="{data_uri(to_svg(light), ".svg")}" alt="Curves of scores and losses over images seen">'
    return f'<h2>Curves</h2><div class="charts"><picture>{dark_source}{image}</picture></div>\n'


def pictures_html(runs: Sequence[Run]) -> str:
    """The newest picture of each run; empty without any."""
    figures = [picture_html(run, run.picture) for run in runs if run.picture is not None]
    return f'<h2>Pictures</h2><div class="grids">{"".join(figures)}</div>\n' if figures else ""


def picture_html(run: Run, picture: Path) -> str:
    """A picture of a run with its name."""
    alt = escape(f"{picture.stem} of {run.name}", quote=True)
    image = f'<img src="{data_uri(picture.read_bytes(), ".png")}" alt="{alt}">'
    return f"<figure>{image}<figcaption>{escape(run.name)}</figcaption></figure>"


def data_uri(data: bytes, suffix: str) -> str:
    """The content of a file as an address."""
    return f"data:{TYPES[suffix]};base64,{base64.b64encode(data).decode('ascii')}"
