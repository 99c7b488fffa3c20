"""Writes the pages of results from the records: docs/results.md and docs/results/<page>.md.

python benchmarks/results.py            # write the pages
python benchmarks/results.py --check    # exit with 1 if a page differs from what would be written

A page is the Jinja template docs/results/<page>.md.jinja. Its numbers come from the records docs/results/<page>/*.json,
which benchmarks/record.py and benchmarks/bounds.py write; none is typed by hand. Templates call the functions of
``Records``.
"""

import argparse
import difflib
import json
import math
from pathlib import Path
from statistics import fmean, stdev

from jinja2 import Environment, FileSystemLoader, StrictUndefined

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TEMPLATES = DOCS / "results"
OUTPUTS = {"index.md": "results.md", "watchdog.md": "watchdog.md"}
"""Pages outside docs/results, relative to docs."""
NUM_DEVIATIONS = 2.0
"""Two scores are equal unless they differ by more than this many standard deviations of their difference."""


class Records:
    """The records of all pages, and the functions that templates call.

    Records are named ``<page>/<name>``. Text of a page that compares two scores holds it with ``better``, which fails
    when the records no longer support it.
    """

    def __init__(self, folder=TEMPLATES):
        self.records = {
            path.relative_to(folder).with_suffix("").as_posix(): json.loads(path.read_text())
            for path in sorted(folder.glob("*/*.json"))
        }

    # ---- single numbers

    def value(self, record, score="fid"):
        """A score as text: ``mean ± standard deviation``."""
        card = self.records[record]["card"]
        return number(card["scores"][score], card["spread"].get(score))

    def band(self, record, score="fid"):
        """The scores of real images, as text."""
        band = self.records[record]["card"]["bands"][score]
        return number(band["mean"], band["std"])

    def held_out(self, record, score="fid"):
        """The score of held-out images and their number, as text."""
        band = self.records[record]["card"]["bands"][score]
        return f"{number(band['held_out'])} ({band['held_out_images']:,})"

    def fact(self, record, name):
        """A field of the record or of its card."""
        entry = self.records[record]
        value = entry[name] if name in entry else entry["card"][name]
        return f"{value:,}" if isinstance(value, int) else value

    # ---- comparisons

    def better(self, first, second, score="fid", higher=False):
        """State that the first record scores better than the second; raises if the spread does not support it."""
        self.check_extractors(first, second)
        (mean, std), (other, other_std) = self.mean_std(first, score), self.mean_std(second, score)
        if not differ(mean, std, other, other_std) or (mean > other) != higher:
            raise ValueError(
                f"{score} of {first} is not better than that of {second}: {mean} {std}, {other} {other_std}"
            )
        return ""

    def indistinct(self, first, second, score="fid"):
        """State that the scores of two records do not differ by more than their spread; raises otherwise."""
        self.check_extractors(first, second)
        values = self.mean_std(first, score), self.mean_std(second, score)
        if differ(*values[0], *values[1]):
            raise ValueError(f"{score} of {first} and {second} differ: {values}")
        return ""

    def check_extractors(self, first, second):
        """Raise if two records were scored by extractors with different weights, whose scores do not compare."""
        hashes = [self.records[record]["card"].get("weights_hash") for record in (first, second)]
        if hashes[0] != hashes[1]:
            raise ValueError(f"{first} and {second} were scored by extractors with different weights: {hashes}")

    def mean_std(self, record, score):
        """Mean and standard deviation over the draws; the latter is infinite for a single draw."""
        card = self.records[record]["card"]
        return card["scores"][score], card["spread"].get(score, math.inf)

    # ---- tables

    def table(self, page, names, columns, score="fid"):
        """A table of records, one row each.

        Args:
            page: the page of the records.
            names: their names, in the order of the rows.
            columns: names out of ``COLUMNS``.
            score: the score of which the best is bold, if it differs from all others.

        Returns:
            Markdown.
        """
        keys = [f"{page}/{name}" for name in names]
        scored = all(score in self.records[key]["card"]["scores"] for key in keys)
        best = self.distinct_best(keys, score) if scored else None
        lines = [f"| {' | '.join(COLUMNS[column][0] for column in columns)} |", f"|{'---|' * len(columns)}"]
        for key in keys:
            cells = [COLUMNS[column][1](self, key) for column in columns]
            if key == best and score in columns:
                cells[columns.index(score)] = f"**{cells[columns.index(score)]}**"
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    def distinct_best(self, keys, score):
        """The record with the lowest score, if no other is within two standard deviations of it; else None."""
        best, *others = sorted(keys, key=lambda key: self.mean_std(key, score)[0])
        distinct = all(differ(*self.mean_std(best, score), *self.mean_std(other, score)) for other in others)
        return best if others and distinct else None

    def bounds(self, record):
        """A table of what real images, held-out images and uniform noise score."""
        entry = self.records[record]
        lines = [
            "| score | resampled reference, random classes | reference's shares | held-out | uniform noise |",
            "|---|---|---|---|---|",
        ]
        for name, noise in entry["card"]["scores"].items():
            if name in ("f_score", "class_accuracy"):
                continue
            bands = [entry[kind]["bands"].get(name) if kind in entry else None for kind in ("card", "by_class")]
            cells = ["" if band is None else number(band["mean"], band["std"]) for band in bands]
            if bands[0] is None:
                cells[0] = number(entry["drawn"][name])
            held_out = "" if bands[0] is None else self.held_out(record, name)
            lines.append(f"| {name} | {' | '.join(cells)} | {held_out} | {number(noise)} |")
        return "\n".join(lines)

    def copies_table(self, record):
        """A table of the scores of ``copies``."""
        lines = ["| samples | share by distance | share by ratio | C_T | p | memorised |", "|---|---|---|---|---|---|"]
        for row in self.records[record]["rows"]:
            scores = row["scores"]
            pairs = [
                f"{scores[f'{prefix}_pixels']:.3f} / {scores[f'{prefix}_features']:.3f}"
                for prefix in ("copies", "copies_ratio", "copies_ct")
            ]
            p = f"{scores['copies_p']:.1e}" if scores["copies_p"] < 0.01 else f"{scores['copies_p']:.2f}"
            lines.append(f"| {row['name']} | {' | '.join(pairs)} | {p} | {'yes' if row['flag'] else 'no'} |")
        return "\n".join(lines)

    def alarms(self, pages):
        """A table of the watchdog's reports by data: runs, and the failures that were reported, with their number."""
        lines = ["| runs | number | with a report | reports |", "|---|---|---|---|"]
        for title, prefix in pages.items():
            runs = {key: record for key, record in self.records.items() if key.startswith(prefix)}
            runs = {key: record for key, record in runs.items() if record.get("adversarial")}
            reported = {key: record["watchdog"] for key, record in runs.items() if record["watchdog"]}
            texts = [f"`{key.rsplit('/', 1)[-1]}`: {failures(messages)}" for key, messages in reported.items()]
            lines.append(f"| {title} | {len(runs)} | {len(reported)} | {'; '.join(texts)} |")
        return "\n".join(lines)

    def samplers_band(self, record):
        """What a resample of the reference scores."""
        band = self.records[record]["band"]
        return number(band["mean"], band["std"])

    def samplers_table(self, record):
        """A table of scores by sampler and number of steps."""
        entry = self.records[record]
        lines = [f"| sampler | {' | '.join(f'{steps} steps' for steps in entry['steps'])} |"]
        lines.append("|---" * (1 + len(entry["steps"])) + "|")
        for name, points in entry["scores"].items():
            cells = [number(fmean(drawn), stdev(drawn) if len(drawn) > 1 else None) for drawn in points]
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
        return "\n".join(lines)

    def truncation_table(self, record):
        """A table of scores by the psi of the truncation."""
        rows = self.records[record]["rows"]
        lines = [f"| ψ | {' | '.join(str(row['psi']) for row in rows)} |", "|---" * (1 + len(rows)) + "|"]
        for name, title in (("fid", "FID"), ("precision", "precision"), ("recall", "recall")):
            lines.append(f"| {title} | {' | '.join(number(*row[name]) for row in rows)} |")
        return "\n".join(lines)

    def augmentation_table(self, record):
        """A table of the last measurement of runs without and with ADA."""
        lines = [
            "| run | training images' logits | held-out images' | generated images' | p | FID, held-out | lowest FID |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, points in self.records[record]["runs"].items():
            last, best = points[-1], min(point["fid"] for point in points)
            cells = [f"{last[key]:.2f}" for key in ("training", "held_out", "generated", "probability")]
            lines.append(f"| {name} | {' | '.join(cells)} | {number(last['fid'])} | {number(best)} |")
        return "\n".join(lines)

    def pictures(self, page, names, columns=3):
        """A table of pictures with their captions: the model, the images seen and the weights."""
        cells = []
        for name in names:
            record = self.records[f"{page}/{name}"]
            weights = "averaged weights" if record["card"]["weights"] == "ema" else "trained weights"
            caption = f"`{name}`, {record['card']['images_seen']:,} images, {weights}"
            cells.append((f"![{caption}](../images/{record['picture']})", caption))
        lines = []
        for start in range(0, len(cells), columns):
            part = cells[start : start + columns]
            rows = ["| " + " | ".join(cell[index] for cell in part) + " |" for index in (0, 1)]
            lines += [rows[0], "|" + "---|" * len(part), rows[1], ""]
        return "\n".join(lines)

    def commands(self, page, names):
        """The distinct commands of evaluation, with the record's name replaced by NAME."""
        commands = {
            self.records[f"{page}/{name}"]["evaluation"].replace(f"runs/{name}/", "runs/NAME/"): None for name in names
        }
        return "\n".join(commands)


def differ(first, first_std, second, second_std):
    """Whether two means differ by more than two standard deviations of their difference."""
    return abs(first - second) > NUM_DEVIATIONS * math.hypot(first_std, second_std)


def number(value, std=None):
    """A number with as many digits as its standard deviation carries, or four."""
    if not std:
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    decimals = max(0, 1 - math.floor(math.log10(std)))
    return f"{value:,.{decimals}f} ± {std:,.{decimals}f}"


def score_column(name):
    """A column function that shows a score, empty where it is missing."""
    return lambda records, key: records.value(key, name) if name in records.records[key]["card"]["scores"] else ""


def band_column(function, name):
    """A column function that shows a band, empty where it is missing."""
    return lambda records, key: function(records, key, name) if name in records.records[key]["card"]["bands"] else ""


def seconds_column(records, key):
    """CPU seconds of training."""
    seconds = records.records[key]["cpu_seconds"]
    return "" if seconds is None else f"{seconds:,.0f}"


def baseline_column(name):
    """A column function that shows a score of the card's baseline, such as bicubic interpolation."""

    def cell(records, key):
        [scores] = records.records[key]["card"]["baselines"].values()
        return number(scores[name]) if name in scores else ""

    return cell


def share_column(name):
    """A column function that shows a share in per cent."""

    def cell(records, key):
        card = records.records[key]["card"]
        if name not in card["scores"]:
            return ""
        std = card["spread"].get(name)
        return number(100 * card["scores"][name], None if std is None else 100 * std) + " %"

    return cell


def failures(messages):
    """The failures that the watchdog's messages name, in order, with their number of images."""
    return ", ".join(message.removeprefix("watchdog: ").split(" images:")[0] for message in messages)


def copies_column(records, key):
    """Whether ``copies`` says that training images were memorised."""
    card = records.records[key]["card"]
    if "copies" not in card["metrics"]:
        return ""
    return "memorised" if "memorised" in card["flags"].get("copies", "") else "none found"


COLUMNS = {
    "name": ("configuration", lambda records, key: f"`{key.rsplit('/', 1)[-1]}`"),
    "drawn": ("sampler", lambda records, key: records.records[key]["card"]["drawn"] or ""),
    "fid": ("FID", score_column("fid")),
    "real": ("resampled reference", band_column(Records.band, "fid")),
    "held_out": ("held-out", band_column(Records.held_out, "fid")),
    "precision": ("precision", score_column("precision")),
    "precision_held_out": ("held-out", band_column(Records.held_out, "precision")),
    "recall": ("recall", score_column("recall")),
    "recall_real": ("resampled reference", band_column(Records.band, "recall")),
    "class_accuracy": ("requested class", share_column("class_accuracy")),
    "copies": ("copies", copies_column),
    "mse": ("MSE", score_column("mse")),
    "psnr": ("PSNR, dB", score_column("psnr")),
    "ssim": ("SSIM", score_column("ssim")),
    "psnr_baseline": ("baseline's PSNR, dB", baseline_column("psnr")),
    "psnr_y": ("PSNR-Y, dB", score_column("psnr_y")),
    "psnr_y_baseline": ("bicubic's PSNR-Y, dB", baseline_column("psnr_y")),
    "ssim_y": ("SSIM-Y", score_column("ssim_y")),
    "ssim_y_baseline": ("bicubic's SSIM-Y", baseline_column("ssim_y")),
    "tv_ratio": ("total variation / target's", score_column("tv_ratio")),
    "consistency": ("consistency", score_column("consistency")),
    "label_kept": ("label kept", share_column("label_kept")),
    "fid_baseline": ("baseline's FID", baseline_column("fid")),
    "nll": ("NLL, nats", score_column("nll")),
    "ppl_wend": ("path length, w, end", score_column("ppl_wend")),
    "ppl_zend": ("path length, z, end", score_column("ppl_zend")),
    "modes": ("modes of 1,000", score_column("modes")),
    "modes_kl": ("KL to uniform, nats", score_column("modes_kl")),
    "eqt": ("EQ-T, dB", score_column("eqt")),
    "eqt_frac": ("EQ-T of fractions, dB", score_column("eqt_frac")),
    "eqr": ("EQ-R, dB", score_column("eqr")),
    "images": ("images seen", lambda records, key: records.fact(key, "images_seen")),
    "seconds": ("CPU seconds", seconds_column),
}


def render(folder=TEMPLATES):
    """Render all pages; returns their text by path."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,
    )
    environment.globals["records"] = Records(folder)
    pages = {}
    for template in sorted(folder.glob("*.md.jinja")):
        name = template.name.removesuffix(".jinja")
        path = folder.parent / OUTPUTS[name] if name in OUTPUTS else folder / name
        pages[path] = environment.get_template(template.name).render()
    return pages


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare the pages instead of writing them")
    options = parser.parse_args()
    stale = False
    for path, text in render().items():
        current = path.read_text() if path.exists() else ""
        if options.check and current != text:
            stale = True
            print("".join(difflib.unified_diff(current.splitlines(True), text.splitlines(True), str(path), "rendered")))
        elif not options.check:
            path.write_text(text)
            print(path.relative_to(ROOT))
    raise SystemExit(int(stale))


if __name__ == "__main__":
    run()
