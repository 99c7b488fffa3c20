"""The samplers by name, and making one as it is asked for."""

from inspect import signature

from lightning_gen.diffusion.adaptive import Adaptive
from lightning_gen.diffusion.processes import Denoise, Process
from lightning_gen.diffusion.samplers import (
    DDIM,
    Ancestral,
    ChurnedHeun,
    DPMSolver,
    Draw,
    Euler,
    Heun,
    Multistep,
    Sampler,
)
from lightning_gen.errors import InputError
from lightning_gen.types import Sampling

SAMPLERS: dict[str, type[Sampler]] = {
    "ancestral": Ancestral,
    "ddim": DDIM,
    "dpm_solver": DPMSolver,
    "euler": Euler,
    "heun": Heun,
    "stochastic_heun": ChurnedHeun,
    "adaptive": Adaptive,
    "multistep": Multistep,
}
OPTIONS = ("steps", "eta", "churn")
"""What a sampler's constructor may take of a :class:`Sampling`."""


def options_of(sampling: Sampling) -> dict[str, float]:
    """The options that the asked sampler takes.

    Args:
        sampling: what is asked for, its sampler named.

    Returns:
        Argument of the sampler's constructor by name.

    Raises:
        InputError: when an option is given that the sampler does not have.
    """
    assert sampling.sampler is not None
    taken = signature(SAMPLERS[sampling.sampler]).parameters
    given = {name: getattr(sampling, name) for name in OPTIONS if getattr(sampling, name) is not None}
    for name in given.keys() - taken.keys() - {"steps"}:
        raise InputError(f"the sampler {sampling.sampler} has no {name}; leave it out")
    return {name: value for name, value in given.items() if name in taken}


def make_sampler(sampling: Sampling, process: Process, denoise: Denoise, draw: Draw) -> Sampler:
    """Make a sampler.

    Args:
        sampling: which, and its options.
        process: the noise process.
        denoise: the denoiser.
        draw: where fresh noise comes from.

    Returns:
        The sampler, for one batch.

    Raises:
        InputError: when an option is given that the sampler does not have.
    """
    options = options_of(sampling)
    assert sampling.sampler is not None
    return SAMPLERS[sampling.sampler](process, denoise, draw, **options)
