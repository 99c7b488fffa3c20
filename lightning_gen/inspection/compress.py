"""What a model's latents cost in bytes, and what a JPEG of as many bytes looks like."""

import math
from io import BytesIO
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Findings, as_tensor, strip, table
from lightning_gen.inspection.subject import Subject, at_least
from lightning_gen.losses.image_quality import SSIM_MIN_SIDE, mse, psnr, ssim
from lightning_gen.types import Batch, Decoder, Encoder, Images, IterativeGenerator, StoredImages, Tokenizer


class Quality(NamedTuple):
    """PSNR in dB of the mean squared error in [0, 1], at most 100, and the mean SSIM in [-1, 1]."""

    psnr: float
    ssim: float


def quality(images: StoredImages, again: StoredImages, batch_size: int) -> Quality:
    """Compare images with their reconstructions.

    SSIM is that of Wang et al. 2004 (https://doi.org/10.1109/TIP.2003.819861): a Gaussian window of 11 pixels with a
    standard deviation of 1.5.

    Args:
        images: uint8 images.
        again: their reconstructions.
        batch_size: images that are compared at once.

    Returns:
        The figures over all images.
    """
    squares = similarity = 0.0
    for some, same in zip(images.split(batch_size), again.split(batch_size), strict=True):
        squares += mse(same, some, "image").sum().item()
        similarity += ssim(same, some).sum().item()
    return Quality(psnr(squares / len(images)), similarity / len(images))


Counted = Literal["scan", "file"]
QUALITIES = (1, 100)
START_OF_SCAN = 0xDA


class Jpeg(NamedTuple):
    """A JPEG file, the quality that it was made with, and the bytes of it that count."""

    data: bytes
    quality: int
    size: int


def encode_jpeg(image: Image.Image, quality: int, counted: Counted) -> Jpeg:
    """Write an image as a baseline JPEG.

    Args:
        image: 8-bit grey or RGB.
        quality: 1 to 100.
        counted: what counts: the entropy-coded ``scan`` alone or the whole ``file``.

    Returns:
        The file.
    """
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=False)
    data = buffer.getvalue()
    return Jpeg(data, quality, len(data) if counted == "file" else scan_bytes(data))


def scan_bytes(data: bytes) -> int:
    """Bytes of entropy-coded data in a baseline JPEG: what lies between the header of its one scan and its end.

    Args:
        data: the file.

    Returns:
        The number of bytes.
    """
    place = 2  # after the start of the image
    while True:
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        marker, place = data[place + 1], place + 2 + length
        if marker == START_OF_SCAN:
            return len(data) - place - 2  # but for the end of the image


def fitted_jpeg(image: UInt8[Tensor, "channels height width"], budget: int, counted: Counted) -> Jpeg:
    """Find by bisection the highest quality whose bytes stay within a budget.

    Args:
        image: one channel, which becomes a grey JPEG, or three.
        budget: bytes.
        counted: which bytes.

    Returns:
        The JPEG; of quality 1, and over the budget, where that is still too large.
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


Jpegs = dict[Counted, tuple[StoredImages, dict[str, float]]]


class Coded(NamedTuple):
    """Images that went through a code.

    Attributes:
        images: as decoded.
        num_bytes: of each image's code.
        code: the code in words.
    """

    images: Images
    num_bytes: int
    code: str


def compress(
    subject: Subject, num: int = 256, shown: int = 12, split: Literal["train", "val", "test"] = "test"
) -> Findings:
    """Weigh the codes of images against JPEG at equal bytes.

    A latent costs two bytes an entry: it is rounded to float16, and decoded from the rounded values. A code out of a
    codebook of K costs ceil(log2 K) bits, and so does the class that a conditional model has behind its latents.
    Nothing is entropy-coded any further.

    A JPEG's headers alone are some 300 bytes of a grey image and 600 of a colour one, far more than the code of a small
    image, so that it is compared twice: by the bytes of its entropy-coded scan alone (``jpeg_scan``), and by those of
    the whole file (``jpeg_file``). Each image gets the highest quality of 1 to 100 that bisection finds within the
    bytes of its code; where quality 1 is still too large, quality 1 is taken, and ``num_too_large`` counts these.

    Args:
        subject: model and data.
        num: how many images are measured, the first of the split.
        shown: how many of them the picture has.
        split: the split.

    Returns:
        Originals, reconstructions and JPEGs in rows; bytes an image, the ratio to the raw pixels' bytes, PSNR in dB and
        SSIM (Wang et al. 2004) of the reconstructions and of both kinds of JPEG.

    Raises:
        InputError: when the model encodes nothing or decodes nothing.
    """
    model = subject.model
    if not isinstance(model, Tokenizer) and not (isinstance(model, Encoder) and isinstance(model, Decoder)):
        raise InputError(f"{subject.name} has no encoder, so that there is no code to weigh; take an autoencoder")
    if isinstance(model, IterativeGenerator):
        raise InputError(
            f"the latents of {subject.name} are noise, as many numbers as the image has: no code to weigh; "
            "take an autoencoder"
        )
    at_least(1, num=num, shown=shown)
    if min(subject.model.image_shape[1:]) < SSIM_MIN_SIDE:
        raise InputError(f"compress compares by SSIM, which needs images of {SSIM_MIN_SIDE} pixels or more a side")
    stored = subject.data.image_set(split)
    num = min(num, len(stored))
    shown = min(shown, num)
    coded = [through_code(model, batch) for batch in subject.batches(stored, range(num))]
    _, num_bytes, code = coded[0]
    images, again = stored[:num], torch.cat([to_uint8(part.images).cpu() for part in coded])
    raw = images[0].numel()
    ours = {"bytes": num_bytes, "ratio": raw / num_bytes} | quality(images, again, subject.batch_size)._asdict()
    jpegs: Jpegs = {counted: as_jpeg(images, num_bytes, counted, subject.batch_size) for counted in get_args(Counted)}
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
            f"{code}: {num_bytes} of {raw} bytes an image, a ratio of {ours['ratio']:.1f}",
            f"{subject.name}: PSNR {ours['psnr']:.2f} dB, SSIM {ours['ssim']:.3f}, {num} images of {split}",
            *(line(counted, figures, num) for counted, (_, figures) in jpegs.items()),
        ),
    )


def through_code(model: Any, batch: Batch) -> Coded:
    """Encode images, round the codes to what is counted, and decode them.

    Args:
        model: a Tokenizer, or an Encoder and Decoder.
        batch: the images.

    Returns:
        The decoded images and what one code costs.
    """
    if isinstance(model, Tokenizer):
        codes = model.tokenize(batch.images)
        length, bits = codes[0].numel(), bits_of(model.codebook_size)
        return Coded(model.detokenize(codes), math.ceil(length * bits / 8), f"{length} codes of {bits} bits")
    latents = model.encode(batch.images, labels=batch.labels)
    images = model.decode(latents.half().to(latents.dtype))
    length, bits = latents[0].numel() - model.num_classes, bits_of(model.num_classes)
    words = f"{length} latents as float16" + (f" and a class of {bits} bits" if bits else "")
    return Coded(images, 2 * length + math.ceil(bits / 8), words)


def bits_of(choices: int) -> int:
    """How many bits one of so many choices takes; none without a choice."""
    return math.ceil(math.log2(choices)) if choices else 0


def as_jpeg(
    images: StoredImages, budget: int, counted: Counted, batch_size: int
) -> tuple[StoredImages, dict[str, float]]:
    """Put each image through a JPEG of at most so many bytes.

    Args:
        images: uint8 images.
        budget: bytes for one.
        counted: which bytes of the file.
        batch_size: images that are compared at once.

    Returns:
        The images as decoded; mean bytes and ratio, mean quality, PSNR, SSIM, and how many stayed over the budget.
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


def line(counted: Counted, figures: dict[str, float], num: int) -> str:
    """What JPEG came to, for the terminal."""
    what = {"scan": "JPEG by its scan alone", "file": "JPEG by its whole file"}[counted]
    excuse = f"; {figures['num_too_large']} of {num} too large even at quality 1" if figures["num_too_large"] else ""
    return f"{what}: {figures['bytes']:.1f} bytes, PSNR {figures['psnr']:.2f} dB, SSIM {figures['ssim']:.3f}{excuse}"
