"""Charts of the curves of several runs."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from lightning_gen.comparison.curves import running_mean
from lightning_gen.comparison.runs import Run

SCORE = re.compile(r"fidelity/[rtb]?(fid|psnr)\d+k?_\w+")
"""Figures that are scores under a named protocol, each of which has a panel of its own."""
TITLES: Mapping[str, str] = {
    "fid": "FID",
    "psnr": "PSNR",
    "loss/total": "loss",
    "val_loss/total": "validation loss",
    "loss/generator": "loss of the generator",
    "loss/discriminator": "loss of the discriminator",
}
"""The titles of panels: of scores by the metric, of losses by the figure."""
UNITS = {"psnr": "dB, higher is better", "fid": "lower is better"}
MAX_SCORE_PANELS = 6
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d31", "#7f7f7f")
"""Colours that people with any kind of colour vision distinguish (Okabe and Ito 2008)."""
DASHES: tuple[str, ...] = ("solid", "dashed", "dotted", "dashdot")
PANEL_SIZE = (6.0, 3.3)
"""Width and height in inches."""
COLUMNS = 2
SMOOTHED = 60
"""Curves with more points are drawn thin, below their running mean over a 30th of the points."""
LOG_RATIO = 20
"""An axis is logarithmic if the largest value exceeds this multiple of the smallest, and all are positive."""


@dataclass(frozen=True)
class Theme:
    """Colours of a chart's text and lines, and of its background."""

    ink: str
    grid: str
    background: str


LIGHT = Theme("#1f2328", "#d8dee4", "#ffffff")
DARK = Theme("#e6edf3", "#30363d", "#0d1117")


def style_of(index: int) -> dict[str, Any]:
    """Colour and dashes of the line of a run."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}


def panels_of(runs: Sequence[Run]) -> list[str]:
    """The figures that have a panel: scores, and those losses of ``TITLES`` that a run has logged."""
    scores = {name: None for run in runs for name in sorted(run.curves) if SCORE.fullmatch(name)}
    losses = [name for name in TITLES if any(name in run.curves for run in runs)]
    return [*list(scores)[:MAX_SCORE_PANELS], *losses]


def draw_curves(runs: Sequence[Run], theme: Theme = LIGHT) -> Figure | None:
    """Draw the curves of all runs, a panel for each figure.

    Args:
        runs: the runs.
        theme: colours.

    Returns:
        The figure; None if there is nothing to draw.
    """
    panels = panels_of(runs)
    if not panels:
        return None
    rows = math.ceil(len(panels) / COLUMNS)
    columns = min(COLUMNS, len(panels))
    legend_height = 0.25 * len(runs) + 0.2
    size = (PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows + legend_height)
    figure = Figure(size, dpi=100, layout="constrained", facecolor=theme.background)
    for index, name in enumerate(panels):
        draw_panel(figure.add_subplot(rows, columns, index + 1), name, runs, theme)
    handles = [Line2D([], [], linewidth=2, **style_of(i)) for i in range(len(runs))]
    labels = [f"{run.name}  {run.settings.model}" for run in runs]
    figure.legend(handles, labels, loc="outside upper left", frameon=False, labelcolor=theme.ink, fontsize=9)
    return figure


def draw_panel(axes: Axes, name: str, runs: Sequence[Run], theme: Theme) -> None:
    """Draw the curves of one figure.

    Args:
        axes: where to draw.
        name: name of the figure.
        runs: the runs; those without it are left out.
        theme: colours.
    """
    drawn = [(index, run.curves[name]) for index, run in enumerate(runs) if name in run.curves]
    for index, curve in drawn:
        style = style_of(index)
        if len(curve.values) > SMOOTHED:
            axes.plot(*curve, linewidth=0.7, alpha=0.3, **style)
            axes.plot(curve.images_seen, running_mean(curve.values, len(curve.values) // 30), linewidth=1.6, **style)
        else:
            axes.plot(*curve, linewidth=1.6, marker="o", markersize=3, **style)
    values = [value for _, curve in drawn for value in curve.values]
    if min(values) > 0 and max(values) > LOG_RATIO * min(values):
        axes.set_yscale("log")
    score = SCORE.fullmatch(name)
    metric = score.group(1) if score else name
    title = f"{TITLES[metric]}  ({name.partition('/')[2]})" if score else TITLES[name]
    axes.set_title(title, color=theme.ink, fontsize=11)
    axes.set_xlabel("images seen", color=theme.ink)
    axes.set_ylabel(UNITS.get(metric, ""), color=theme.ink)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_xlim(left=0)
    axes.set_facecolor(theme.background)
    axes.tick_params(colors=theme.ink, which="both")
    axes.grid(color=theme.grid, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(theme.grid)


def short(value: float) -> str:
    """A number of images in few characters: ``1.5M``, ``20k``, ``300``."""
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def to_svg(figure: Figure) -> bytes:
    """A figure as SVG without references to other files: letters are drawn as paths."""
    data = BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "comparison"}):
        figure.savefig(data, format="svg", metadata={"Date": None})
    return data.getvalue()


def to_png(figure: Figure) -> bytes:
    """A figure as PNG."""
    data = BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()
