"""The comparison as one picture: the table, the curves, and the newest pictures side by side."""

from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from lightning_gen.comparison.charts import LIGHT, draw_curves, to_png
from lightning_gen.comparison.runs import Run
from lightning_gen.comparison.table import Grid, tabulate
from lightning_gen.drawing import FONT_SIZE, GAP

PAGE_WIDTH = 1200
PICTURES_PER_ROW = 3
LINE = FONT_SIZE + GAP
INK, FAINT = "#1f2328", "#d8dee4"


def draw_comparison(runs: Sequence[Run]) -> Image.Image:
    """Draw the comparison on white.

    Args:
        runs: the runs.

    Returns:
        An RGB image.
    """
    parts = [draw_table(tabulate(runs))]
    figure = draw_curves(runs, LIGHT)
    if figure is not None:
        parts.append(Image.open(BytesIO(to_png(figure))).convert("RGB"))
    shown = [run for run in runs if run.picture is not None]
    parts += [draw_pictures(shown[i : i + PICTURES_PER_ROW]) for i in range(0, len(shown), PICTURES_PER_ROW)]
    width = max(part.width for part in parts) + 2 * GAP
    page = Image.new("RGB", (width, sum(part.height + GAP for part in parts) + GAP), "white")
    top = GAP
    for part in parts:
        page.paste(part, (GAP, top))
        top += part.height + GAP
    return page


def draw_table(grid: Grid) -> Image.Image:
    """Draw a table, with numbers aligned at the right."""
    font = ImageFont.load_default(FONT_SIZE)
    cells = [grid.columns, *([cell.text for cell in row] for row in grid.rows)]
    widths = [max(round(font.getlength(row[i])) for row in cells) + 2 * GAP for i in range(len(grid.columns))]
    right = [any(row[i].value is not None for row in grid.rows) for i in range(len(grid.columns))]
    notes = max((round(font.getlength(note)) + 2 * GAP for note in grid.notes), default=0)
    size = (max(PAGE_WIDTH, sum(widths), notes), LINE * (len(cells) + len(grid.notes)) + 2 * GAP)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for line, row in enumerate(cells):
        y = GAP + LINE * line
        for i, text in enumerate(row):
            x = sum(widths[:i]) + (widths[i] - GAP if right[i] else GAP)
            draw.text((x, y), text, INK, font, anchor="ra" if right[i] else "la")
        draw.line((0, y + LINE - GAP // 2, sum(widths), y + LINE - GAP // 2), FAINT)
    for line, note in enumerate(grid.notes, len(cells)):
        draw.text((GAP, GAP + LINE * line), note, INK, font)
    return image


def draw_pictures(runs: Sequence[Run]) -> Image.Image:
    """Draw the pictures of some runs side by side, each below the run's name."""
    font = ImageFont.load_default(FONT_SIZE)
    width = (PAGE_WIDTH - GAP * (PICTURES_PER_ROW - 1)) // PICTURES_PER_ROW
    images = []
    for run in runs:
        assert run.picture is not None
        with Image.open(run.picture) as picture:
            height = round(picture.height * width / picture.width)
            images.append(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    row = Image.new("RGB", (PAGE_WIDTH, LINE + max(image.height for image in images)), "white")
    draw = ImageDraw.Draw(row)
    for i, (run, image) in enumerate(zip(runs, images, strict=True)):
        draw.text((i * (width + GAP), 0), run.name, INK, font)
        row.paste(image, (i * (width + GAP), LINE))
    return row
