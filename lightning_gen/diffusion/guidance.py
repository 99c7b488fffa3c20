"""Classifier-free guidance (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598), on denoised images.

    D(x) = D(x | none) + w (D(x | y) - D(x | none))

This equals the same combination of the predicted noises or velocities. w = 1 is the conditional model and w = 0 the
unconditional one. Guidance can be restricted to an interval of noise levels, outside of which it is harmful
(Kynkaanniemi et al. 2024, https://arxiv.org/abs/2404.07724).
"""

import math
from collections.abc import Callable, Collection

import torch

from lightning_gen.checks import check_at_least
from lightning_gen.diffusion.processes import Denoise, Process, Times
from lightning_gen.errors import InputError
from lightning_gen.types import Classes, Images, SamplingOptions

ConditionalDenoise = Callable[[Images, Times, Classes], Images]
"""A conditional denoiser: noisy images, the time and the class row of each, to estimates of the clean images."""
ALL_LEVELS = (0.0, math.inf)


def guided(
    denoise: ConditionalDenoise,
    process: Process,
    classes: Classes,
    scale: float = 1.0,
    interval: tuple[float, float] = ALL_LEVELS,
) -> Denoise:
    """Bind the classes of a conditional denoiser, with guidance.

    Args:
        denoise: the conditional denoiser; rows of zeros are its unconditional case.
        process: the noise process.
        classes: class rows of the images.
        scale: w.
        interval: lowest and highest noise level (sigma / alpha) with guidance, both included.

    Returns:
        A denoiser of images and times.
    """

    def conditional(noisy: Images, times: Times) -> Images:
        return denoise(noisy, times, classes)

    def with_guidance(noisy: Images, times: Times) -> Images:
        alpha, sigma = process.alpha_sigma(times)
        level = sigma / alpha  # infinite at pure noise
        inside = (interval[0] <= level) & (level <= interval[1])
        if not inside.any():
            return conditional(noisy, times)
        no_class = torch.zeros_like(classes)
        both = denoise(noisy.repeat(2, 1, 1, 1), times.repeat(2), torch.cat([classes, no_class]))
        with_class, without = both.chunk(2)
        return torch.where(inside[:, None, None, None], without + scale * (with_class - without), with_class)

    return conditional if scale == 1.0 else with_guidance


def clipped(denoise: Denoise) -> Denoise:
    """Clip the denoised images to [-1, 1]."""
    return lambda noisy, times: denoise(noisy, times).clamp(-1, 1)


def check_guidance(
    model: str,
    options: SamplingOptions,
    requested: Collection[str],
    conditional: bool,
    label_dropout: float,
    supported: bool = True,
) -> None:
    """Check the guidance of sampling options.

    Args:
        model: name of the model, for messages.
        options: the resolved options.
        requested: names of the options that were requested, and not taken from the model's defaults.
        conditional: whether the model is conditional.
        label_dropout: the fraction of training images without a class.
        supported: whether scales other than 0 and 1 are defined for the model.

    Raises:
        InputError: if a value is out of range, or the model does not support guidance.
    """
    check_at_least(0, guidance=options.guidance, prefix="")
    if not conditional:
        given = {*requested} - ({"guidance"} if options.guidance == 1 else set())  # 1 is no guidance, and no error
        for option in sorted({"guidance", "guidance_interval"} & given):
            raise InputError(f"{option} is given, and this {model} is unconditional: there are no classes")
    elif options.guidance != 1 and not label_dropout:
        raise InputError(
            f"guidance is {options.guidance}, and this {model} was trained with label_dropout 0, so it has no "
            "unconditional case"
        )
    if not supported and options.guidance not in (0, 1):
        raise InputError(
            f"guidance is {options.guidance:g}, which is undefined for {model}; use 1, or 0 for the unconditional model"
        )
    lowest, highest = options.guidance_interval or ALL_LEVELS
    if not 0 <= lowest <= highest:
        raise InputError(f"guidance_interval is {lowest:g} to {highest:g}; it must be increasing and not negative")
    if options.guidance == 1 and options.guidance_interval is not None:
        raise InputError("guidance_interval is given, and guidance is 1, which is no guidance; set guidance, too")
