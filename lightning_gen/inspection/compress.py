"""The size of latents in bytes, compared with JPEG at equal size."""

import math
from io import BytesIO
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.drawing import as_tensor
from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Findings, strip, table
from lightning_gen.inspection.subject import Subject
from lightning_gen.losses.image_quality import SSIM_MIN_SIDE, mse, psnr, ssim
from lightning_gen.types import Batch, Decoder, Encoder, Images, IterativeGenerator, StoredImages, Tokenizer


class Quality(NamedTuple):
    """PSNR in dB of the mean squared error over all images, at most 100, and mean SSIM in [-1, 1]."""

    psnr: float
    ssim: float


def quality(images: StoredImages, again: StoredImages, batch_size: int) -> Quality:
    """Compare uint8 images with their reconstructions, in batches."""
    squares = similarity = 0.0
    for some, same in zip(images.split(batch_size), again.split(batch_size), strict=True):
        squares += mse(same, some, "image").sum().item()
        similarity += ssim(same, some).sum().item()
    return Quality(psnr(squares / len(images)), similarity / len(images))


SizeOf = Literal["scan", "file"]
"""Bytes that count as the size of a JPEG: the entropy-coded scan alone, or the whole file."""
QUALITIES = (1, 100)
START_OF_SCAN = 0xDA


class Jpeg(NamedTuple):
    """A JPEG file, its quality setting, and its size in bytes."""

    data: bytes
    quality: int
    size: int


def encode_jpeg(image: Image.Image, quality: int, counted: SizeOf) -> Jpeg:
    """Encode an 8-bit grey or RGB image as a baseline JPEG with a quality of 1 to 100."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=False)
    data = buffer.getvalue()
    return Jpeg(data, quality, len(data) if counted == "file" else scan_bytes(data))


def scan_bytes(data: bytes) -> int:
    """Number of bytes of entropy-coded data in a baseline JPEG, between the header of its scan and its end."""
    position = 2  # after the start-of-image marker
    while True:
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        marker, position = data[position + 1], position + 2 + length
        if marker == START_OF_SCAN:
            return len(data) - position - 2  # without the end-of-image marker


def fitted_jpeg(image: UInt8[Tensor, "channels height width"], budget: int, counted: SizeOf) -> Jpeg:
    """Find by bisection the highest quality whose size is within a budget.

    Args:
        image: an image with one channel (a grey JPEG) or three.
        budget: maximum size in bytes.
        counted: the bytes that count.

    Returns:
        The JPEG; if even quality 1 exceeds the budget, that of quality 1.
    """
    pixels = image.permute(1, 2, 0).contiguous().cpu().numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    low, high = QUALITIES
    best = encode_jpeg(picture, low, counted)
    while best.size <= budget and low < high:
        middle = (low + high + 1) // 2
        tried = encode_jpeg(picture, middle, counted)
        if tried.size <= budget:
            best, low = tried, middle
        else:
            high = middle - 1
    return best


def decode_jpeg(data: bytes) -> UInt8[Tensor, "channels height width"]:
    """The pixels of a JPEG file."""
    return as_tensor(Image.open(BytesIO(data)))


Jpegs = dict[SizeOf, tuple[StoredImages, dict[str, float]]]


class Coded(NamedTuple):
    """Images that were encoded and decoded.

    Attributes:
        images: the decoded images.
        num_bytes: size of an image's code in bytes.
        code: description of the code.
    """

    images: Images
    num_bytes: int
    code: str


def compress(
    subject: Subject, num: int = 256, shown: int = 12, split: Literal["train", "val", "test"] = "test"
) -> Findings:
    """Compare the codes of images with JPEG at equal size.

    A latent has two bytes per entry: it is rounded to float16, and decoded from the rounded values. A code of a
    codebook of K codes has ceil(log2 K) bits, and so has the class in the latents of a conditional model. There is no
    further entropy coding.

    The headers of a JPEG have about 300 bytes for a grey image and 600 for a colour image, much more than the code of a
    small image. Therefore two sizes are compared: that of the entropy-coded scan alone (``jpeg_scan``) and that of the
    whole file (``jpeg_file``). Each image has the highest quality of 1 to 100 whose size is within that of its code;
    ``num_too_large`` counts the images that are too large even at quality 1.

    Args:
        subject: model and data.
        num: number of images, from the start of the split.
        shown: number of images in the picture.
        split: the split.

    Returns:
        Rows of originals, reconstructions and JPEGs; bytes per image, compression ratio, PSNR in dB and SSIM (Wang et
        al. 2004) of the reconstructions and of both kinds of JPEG.

    Raises:
        InputError: if the model does not encode and decode images.
    """
    model = subject.model
    if not isinstance(model, Tokenizer) and not (isinstance(model, Encoder) and isinstance(model, Decoder)):
        raise InputError(f"{subject.name} has no encoder, so there is no code to measure; use an autoencoder")
    if isinstance(model, IterativeGenerator):
        raise InputError(
            f"the latents of {subject.name} are noise, as large as the image: there is no code to measure; "
            "use an autoencoder"
        )
    check_at_least(1, prefix="--", num=num, shown=shown)
    if min(subject.model.image_shape[1:]) < SSIM_MIN_SIDE:
        raise InputError(
            f"compress computes SSIM, and images must have at least {SSIM_MIN_SIDE} x {SSIM_MIN_SIDE} pixels"
        )
    stored = subject.data.image_set(split)
    num = min(num, len(stored))
    shown = min(shown, num)
    coded = [encode_and_decode(model, batch) for batch in subject.batches(stored, range(num))]
    _, num_bytes, code = coded[0]
    images, again = stored[:num], torch.cat([to_uint8(part.images).cpu() for part in coded])
    raw = images[0].numel()
    ours = {"bytes": num_bytes, "ratio": raw / num_bytes} | quality(images, again, subject.batch_size)._asdict()
    jpegs: Jpegs = {counted: as_jpeg(images, num_bytes, counted, subject.batch_size) for counted in get_args(SizeOf)}
    numbers: dict[str, Any] = {"num": num, "split": split, "raw_bytes": raw, "code": code, "ours": ours}
    numbers |= {f"jpeg_{counted}": figures for counted, (_, figures) in jpegs.items()}
    rows = {
        f"original, {raw} bytes": images,
        f"{subject.name}, {num_bytes} bytes": again,
        **{f"JPEG {counted}, {figures['bytes']:.0f} bytes": pixels for counted, (pixels, figures) in jpegs.items()},
    }
    return Findings(
        table([[strip(row[:shown])] for row in rows.values()], list(rows)),
        numbers,
        summary=(
            f"{code}: {num_bytes} of {raw} bytes per image, a ratio of {ours['ratio']:.1f}",
            f"{subject.name}: PSNR {ours['psnr']:.2f} dB, SSIM {ours['ssim']:.3f}, {num} images of {split}",
            *(summary_line(counted, figures, num) for counted, (_, figures) in jpegs.items()),
        ),
    )


def encode_and_decode(model: Any, batch: Batch) -> Coded:
    """Encode images, round their codes, and decode them, by a Tokenizer or an Encoder and Decoder."""
    if isinstance(model, Tokenizer):
        codes = model.tokenize(batch.images)
        length, bits = codes[0].numel(), num_bits(model.codebook_size)
        return Coded(model.detokenize(codes), math.ceil(length * bits / 8), f"{length} codes of {bits} bits")
    latents = model.encode(batch.images, labels=batch.labels)
    images = model.decode(latents.half().to(latents.dtype))
    length, bits = latents[0].numel() - model.num_classes, num_bits(model.num_classes)
    words = f"{length} latents as float16" + (f" and a class of {bits} bits" if bits else "")
    return Coded(images, 2 * length + math.ceil(bits / 8), words)


def num_bits(choices: int) -> int:
    """Number of bits of one of ``choices`` values; 0 if ``choices`` is 0."""
    return math.ceil(math.log2(choices)) if choices else 0


def as_jpeg(
    images: StoredImages, budget: int, counted: SizeOf, batch_size: int
) -> tuple[StoredImages, dict[str, float]]:
    """Encode and decode images as JPEG.

    Args:
        images: uint8 images.
        budget: maximum size of an image in bytes.
        counted: the bytes that count.
        batch_size: number of images per batch for the comparison.

    Returns:
        The decoded images; mean bytes, ratio and quality, PSNR, SSIM, and the number of images over the budget.
    """
    jpegs = [fitted_jpeg(image, budget, counted) for image in images]
    again = torch.stack([decode_jpeg(jpeg.data) for jpeg in jpegs])
    mean = sum(jpeg.size for jpeg in jpegs) / len(jpegs)
    return again, {
        "bytes": mean,
        "ratio": images[0].numel() / mean,
        **quality(images, again, batch_size)._asdict(),
        "quality": sum(jpeg.quality for jpeg in jpegs) / len(jpegs),
        "num_too_large": sum(jpeg.size > budget for jpeg in jpegs),
    }


def summary_line(counted: SizeOf, figures: dict[str, float], num: int) -> str:
    """The results of JPEG in one line."""
    what = {"scan": "JPEG by its scan alone", "file": "JPEG by its whole file"}[counted]
    excuse = f"; {figures['num_too_large']} of {num} too large even at quality 1" if figures["num_too_large"] else ""
    return f"{what}: {figures['bytes']:.1f} bytes, PSNR {figures['psnr']:.2f} dB, SSIM {figures['ssim']:.3f}{excuse}"
