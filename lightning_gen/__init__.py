"""lightning_gen: every classic generative image model under one trainer and one scoring protocol.

All models, ``ImageData``, ``load``, ``score`` and ``picture`` are names of this package. They are imported when they
are first used, so that ``import lightning_gen`` is fast.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_gen.api import load as load
    from lightning_gen.api import score as score
    from lightning_gen.data import ImageData as ImageData
    from lightning_gen.display import picture as picture
    from lightning_gen.errors import InputError as InputError
    from lightning_gen.models import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        """Import a name of the Python interface when it is first used."""
        if name in INTERFACE:
            return getattr(import_module(INTERFACE[name]), name)
        if name == "__all__":
            return [*INTERFACE, *model_names()]
        if name[:1].isupper() and name in model_names():
            return getattr(import_module("lightning_gen.models"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])


__version__ = version("lightning_gen")
INTERFACE = {
    "ImageData": "lightning_gen.data",
    "InputError": "lightning_gen.errors",
    "load": "lightning_gen.api",
    "picture": "lightning_gen.display",
    "score": "lightning_gen.api",
}
"""The modules of the names that are no models."""


def model_names() -> list[str]:
    """The names of all models, read without importing them."""
    return [*import_module("lightning_gen.cli.catalogue").models()]


def __dir__() -> list[str]:
    """The names of the Python interface, and those that are imported already."""
    return sorted({*globals(), *INTERFACE, *model_names()})
