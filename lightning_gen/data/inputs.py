"""Inputs that are computed from a dataset's images: what a model makes the images from.

    x' = q(f(x)),    q(x) = to_float(to_uint8(x))

x is an image in [-1, 1] after its crop and flip, and f one of ``KINDS``. The result is rounded to 8 bits, so that the
inputs of training, of scoring and of a file are the same. Adding a kind is a function and a record.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from lightning_gen.checks import check_choice
from lightning_gen.errors import InputError
from lightning_gen.images import to_float, to_grey, to_uint8
from lightning_gen.resize import bicubic_downscale
from lightning_gen.types import Images, Inputs, StoredImages

StoredInputs = UInt8[Tensor, "batch input_channels input_height input_width"]
Direction = Literal["AtoB", "BtoA"]


@dataclass(frozen=True)
class InputKind:
    """A way to compute inputs from images.

    Attributes:
        name: value of ``data.inputs``.
        function: the function f of images in [-1, 1] and of the scale; None: the inputs are random, and the loader
            computes them image by image (see :mod:`lightning_gen.data.degradation`).
        channels: number of channels of the result; None: as many as the image has.
        scaled: whether the result is ``data.scale`` times smaller than the image, on each side.
    """

    name: str
    function: Callable[[Images, int], Inputs] | None
    channels: int | None = None
    scaled: bool = False

    def derive(self, images: Images, scale: int = 1) -> Inputs:
        """Compute 8-bit inputs from images in [-1, 1], on their device."""
        assert self.function is not None
        return to_float(to_uint8(self.function(images, scale)))

    def derive_stored(self, images: StoredImages, scale: int = 1) -> StoredInputs:
        """Compute stored inputs from stored images: the inputs of :meth:`derive`, as uint8."""
        return to_uint8(self.derive(to_float(images), scale))


def grey(images: Images, scale: int = 1) -> Inputs:
    """Luma in one channel; grey images do not change."""
    return to_grey(images)


def edges(images: Images, scale: int = 1) -> Inputs:
    """White outlines on black: the morphological gradient, maximum minus minimum of 3 x 3 pixels, of (luma > 0)."""
    strokes = (to_grey(images) > 0).to(images.dtype)
    return 2 * (_max3x3(strokes) + _max3x3(-strokes)) - 1


def inverted(images: Images, scale: int = 1) -> Inputs:
    """The negative, -x."""
    return -images


def masked(images: Images, scale: int = 1) -> Inputs:
    """The images with 0 in a centred rectangle of half the height and half the width, for inpainting."""
    height, width = images.shape[-2:]
    top, left = (height - height // 2) // 2, (width - width // 2) // 2
    images = images.clone()
    images[..., top : top + height // 2, left : left + width // 2] = 0
    return images


def dilated(images: Images, scale: int = 1) -> Inputs:
    """The maximum of each 3 x 3 pixels: bright strokes become thicker by a pixel on each side."""
    return _max3x3(images)


def _max3x3(images: Images) -> Images:
    return F.max_pool2d(images, 3, stride=1, padding=1)


_RECORDS = (
    InputKind("bicubic", bicubic_downscale, scaled=True),
    InputKind("grey", grey, channels=1),
    InputKind("edges", edges, channels=1),
    InputKind("inverted", inverted),
    InputKind("masked", masked),
    InputKind("dilated", dilated),
    InputKind("degraded", None, scaled=True),
)
KINDS = {record.name: record for record in _RECORDS}

if TYPE_CHECKING:
    InputName = str
else:
    InputName = Literal[tuple(KINDS)]  # the choices of --data.inputs


def find_kind(name: str) -> InputKind:
    """Look up a kind of inputs; an unknown name raises an :class:`InputError` that lists the valid ones."""
    check_choice(KINDS, prefix="data.", inputs=name)
    return KINDS[name]


def check_input_options(
    kind: InputKind | None, stored: bool, scale: int | None, direction: str, paired: bool | None
) -> None:
    """Check the options of inputs together.

    Args:
        kind: how inputs are computed; None: they are not.
        stored: whether the inputs are images of the dataset.
        scale: value of ``data.scale``.
        direction: value of ``data.direction``.
        paired: value of ``data.paired``.

    Raises:
        InputError: for an option that needs another one, or contradicts it.
    """
    if kind is None and not stored:
        given = {"scale": scale, "paired": paired, "direction": None if direction == "AtoB" else direction}
        for option, value in given.items():
            if value is not None:
                raise InputError(f"data.{option} is {value}, and the data has no inputs; set data.inputs")
    if kind is None:
        if stored and scale is not None and scale > 1 and direction == "BtoA":
            raise InputError(f"data.direction is BtoA and data.scale is {scale}; images are made larger, not smaller")
        return
    if kind.scaled and (scale is None or scale < 2):
        raise InputError(f"data.inputs is {kind.name} and data.scale is {scale}; set data.scale to 2, 3, 4 or more")
    if not kind.scaled and scale is not None:
        scaled = " or ".join(record.name for record in _RECORDS if record.scaled)
        raise InputError(
            f"data.scale is {scale}, and data.inputs {kind.name} are as large as the images; leave out data.scale, or "
            f"set data.inputs to {scaled}"
        )
    if kind.scaled and direction == "BtoA":
        raise InputError(
            f"data.direction is BtoA and data.inputs is {kind.name}, whose images would be smaller than their inputs; "
            "use AtoB"
        )


def check_divides(scale: int | None, **sizes: int | None) -> None:
    """Check that a scale divides sizes, so that the inputs have whole pixels.

    Args:
        scale: value of ``data.scale``.
        **sizes: sizes by option name; None: not set.

    Raises:
        InputError: for the first size that is not a multiple.
    """
    for name, size in sizes.items():
        if scale is not None and size is not None and size % scale:
            near = max(size // scale, 1) * scale
            raise InputError(f"data.{name} is {size}, no multiple of data.scale {scale}; set it to {near}, for example")
