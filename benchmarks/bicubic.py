"""PSNR of MATLAB's bicubic interpolation on a folder of images, by the protocols found in papers.

Each image is cropped to a multiple of the scale, made smaller and larger again; every result is rounded to 8 bits, and
as many pixels as the scale are left out at the border. The table has the mean over images of the PSNR in dB of

* the luma, which is computed first and then resized: the protocol of papers;
* the same, but grey images keep their range of [0, 255]: published MATLAB scripts convert only colour images;
* the luma of resized RGB images: that of `evaluate.py`;
* all three channels: a protocol of its own.

    python benchmarks/bicubic.py --images DIR      # a folder or zip, such as Set5

On Set5 the first column is 33.65, 30.39 and 28.42 at scales 2, 3 and 4; published are 33.66, 30.39 and 28.42. On Set14
the second one is 30.22, 27.54 and 26.00; published are 30.24, 27.55 and 26.00.
"""

import argparse
import io
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from lightning_gen.data.decode import decode_with_alpha, is_colour
from lightning_gen.data.files import image_names, open_tree
from lightning_gen.losses.image_quality import crop_border, luma, mse, psnr, psnr_y
from lightning_gen.resize import bicubic_downscale, bicubic_upscale

PROTOCOLS = ("luma, then resized", "grey images in [0, 255]", "resized, then luma", "RGB")


def rounded(images):
    return images.round().clamp(0, 255).to(torch.uint8)


def interpolated(images, scale):
    return rounded(bicubic_upscale(rounded(bicubic_downscale(images.double(), scale)).double(), scale))


def scores(image, is_grey, scale):
    """The PSNR of one RGB image by every protocol; ``is_grey``: its file has one channel."""
    height, width = (side - side % scale for side in image.shape[-2:])
    image = image[..., :height, :width]
    y = rounded(luma(image))
    pairs = [(interpolated(x, scale), x) for x in (y, image[:, :1] if is_grey else y, image)]
    first, full_range, channels = (psnr(mse(*(crop_border(x, scale) for x in pair), "image")) for pair in pairs)
    return torch.stack([first, full_range, psnr_y(*pairs[2], border=scale), channels])[:, 0]


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
    table = Table(title=f"PSNR in dB of bicubic interpolation, {len(images)} images of {options.images.name}")
    for column in ("scale", *PROTOCOLS):
        table.add_column(column, justify="right")
    for scale in options.scales:
        means = torch.stack([scores(*image, scale) for image in images]).mean(0)
        table.add_row(str(scale), *(f"{value:.2f}" for value in means.tolist()))
    Console().print(table)


if __name__ == "__main__":
    run()
