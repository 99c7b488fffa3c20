"""Checks of the hyper-parameters that every model shares, before its constructor runs."""

import inspect
from abc import ABCMeta
from collections.abc import Mapping
from functools import partial
from typing import Any

from lightning_gen.checks import check_above, check_at_least, check_at_most, check_fraction, check_numbers, numbers_in
from lightning_gen.memory import build_within_memory

POSITIVE = ("lr", "generator_lr", "discriminator_lr", "prior_lr")
"""Hyper-parameters that are above 0 in every model that has them."""
COUNTS = (
    *("ada_images", "attention", "depth", "discriminator_hidden", "heads", "hidden", "image_shape", "input_shape"),
    *("latent_dim", "multipliers", "patch", "width"),
)
"""Those that are at least 1, or sequences of such numbers."""
LAYERS = (
    *("blocks", "depth", "downsamplings", "halvings", "mapping_layers", "num_layers", "patch_layers", "prior_layers"),
    *("num_critical", "packing", "unrolled_steps"),
)
MOST = {**dict.fromkeys(LAYERS, 1000), "num_times": 1_000_000}
"""Upper bounds of those whose time of construction or of a step is proportional to them."""
NOT_NEGATIVE = ("capacity_images", "kl_images", "num_classes")
FRACTIONS = ("beta1", "beta2")
"""Adam's decays, in [0, 1)."""


class CheckedConstruction(ABCMeta):
    """The metaclass of all models: checks the arguments of the constructor, and the size of what it builds.

    All numbers must be finite, and those that are named above within their bounds. Other bounds, and those between
    several hyper-parameters, are checked by the constructors. See :mod:`lightning_gen.memory` for the size.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, then construct the model.

        Args:
            *args: positional arguments of the constructor.
            **kwargs: its other arguments.

        Returns:
            The model.
        """
        check_hyper_parameters(named_arguments(cls, args, kwargs))
        return build_within_memory(partial(super().__call__, *args, **kwargs), cls.__name__)

    @property
    def __signature__(cls) -> inspect.Signature:
        """The signature of the constructor, for ``inspect.signature`` and ``help``."""
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]
        return signature.replace(parameters=[*signature.parameters.values()][1:])


def named_arguments(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor by name; only ``kwargs`` where they do not fit its signature."""
    try:
        return {**inspect.signature(cls).bind_partial(*args).arguments, **kwargs}
    except TypeError:  # too many arguments, which the call of the constructor reports
        return {**kwargs}


def check_hyper_parameters(values: Mapping[str, Any]) -> None:
    """Check the numbers of a model.

    Args:
        values: hyper-parameters by name; those that are not checked here may have any type.
    """
    check_numbers(values)
    for name, value in values.items():
        for number in numbers_in(value):
            named: dict[str, Any] = {name: number}
            if name in POSITIVE:
                check_above(0, **named)
            if name in COUNTS:
                check_at_least(1, **named)
            if name in NOT_NEGATIVE:
                check_at_least(0, **named)
            if name in FRACTIONS:
                check_fraction(**named)
            if name in MOST:
                check_at_most(MOST[name], **named)
