"""lightning_gen: every classic generative image model under one trainer and one scoring protocol."""

from importlib.metadata import version

__version__ = version("lightning_gen")
