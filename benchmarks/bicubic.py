"""PSNR of MATLAB's bicubic interpolation on a folder of images, by the protocols found in papers.

Each image is cropped to a multiple of the scale, made smaller and larger again; every result is rounded to 8 bits, and
as many pixels as the scale are left out at the border. The first table has the mean over images of the PSNR in dB of

* the luma, which is computed first and then resized: the protocol of papers;
* the same, but grey images keep their range of [0, 255]: published MATLAB scripts convert only colour images;
* the luma of resized RGB images: that of `evaluate.py`;
* all three channels: a protocol of its own.

The second table has the first protocol with mistakes that are common.

    python benchmarks/bicubic.py --images DIR      # a folder or zip, such as Set5

On Set5 the first column is 33.65, 30.39 and 28.42 at scales 2, 3 and 4; published are 33.66, 30.39 and 28.42. On Set14
the second one is 30.22, 27.54 and 26.00; published are 30.24, 27.55 and 26.00.
"""

import argparse
import io
import statistics
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from lightning_gen.data.decode import decode_with_alpha, is_colour
from lightning_gen.data.files import image_names, open_tree
from lightning_gen.images import to_grey
from lightning_gen.losses.image_quality import crop_border, luma, mse, psnr
from lightning_gen.resize import bicubic_downscale, bicubic_upscale


def rounded(images):
    return images.round().clamp(0, 255).to(torch.uint8)


def interpolated(images, scale, downscale=bicubic_downscale):
    return rounded(bicubic_upscale(rounded(downscale(images.double(), scale)).double(), scale))


def not_antialiased(images, scale):
    return F.interpolate(images, scale_factor=1 / scale, mode="bicubic")


def errors(image, is_grey, scale):
    """The mean squared error of one RGB image, by protocols and by mistakes; ``is_grey``: its file has one channel."""
    height, width = (side - side % scale for side in image.shape[-2:])
    image = image[..., :height, :width]
    y, full_range = rounded(luma(image)), rounded(to_grey(image.double()))

    def error(target, border=scale, downscale=bicubic_downscale, convert=lambda images: images):
        pair = (convert(interpolated(target, scale, downscale)), convert(target))
        return mse(*(crop_border(x, border) for x in pair), "image").item()

    protocols = {
        "luma, then resized": error(y),
        "grey images in [0, 255]": error(image[:, :1] if is_grey else y),
        "resized, then luma": error(image, convert=lambda images: luma(images) / 127.5 - 1),
        "RGB": error(image),
    }
    mistakes = {
        "luma in [0, 255]": error(full_range),
        "no border": error(y, border=0),
        "small image not antialiased": error(y, downscale=not_antialiased),
    }
    return protocols, mistakes


def decibels(records):
    """The mean over images of the PSNR, by the names of the records' errors."""
    return {name: statistics.fmean(psnr(record[name]) for record in records) for name in records[0]}


def print_table(title, rows):
    table = Table(title=title)
    for column in ("scale", *next(iter(rows.values()))):
        table.add_column(column, justify="right")
    for scale, values in rows.items():
        table.add_row(str(scale), *(f"{value:.2f}" for value in values.values()))
    Console(width=120).print(table)


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 3, 4])
    options = parser.parse_args()
    tree = open_tree(options.images)
    images = []
    for name in image_names(tree):
        with Image.open(io.BytesIO(tree.read(name))) as image:
            images.append((torch.tensor(decode_with_alpha(image, channels=3)[0])[None], not is_colour(image)))
    right, wrong = {}, {}
    for scale in options.scales:
        protocols, mistakes = zip(*(errors(*image, scale) for image in images), strict=True)
        right[scale] = decibels(protocols)
        mean_error = statistics.fmean(record["luma, then resized"] for record in protocols)
        wrong[scale] = {**decibels(mistakes), "PSNR of the mean error": psnr(mean_error)}
    print_table(f"PSNR in dB of bicubic interpolation, {len(images)} images of {options.images.name}", right)
    print_table("Luma, then resized, with a mistake", wrong)


if __name__ == "__main__":
    run()
