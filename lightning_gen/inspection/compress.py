"""What a model's latents cost in bytes, and what a JPEG of as many bytes looks like."""

import math
from typing import Any, Literal, NamedTuple, get_args

import torch

from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from lightning_gen.inspection.findings import Findings
from lightning_gen.inspection.jpeg import Counted, decode_jpeg, fitted_jpeg
from lightning_gen.inspection.options import at_least
from lightning_gen.inspection.panels import strip, table
from lightning_gen.inspection.quality import quality
from lightning_gen.inspection.subject import Subject
from lightning_gen.losses.image_quality import SSIM_MIN_SIDE
from lightning_gen.types import Batch, Decoder, Encoder, Images, IterativeGenerator, StoredImages, Tokenizer

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
