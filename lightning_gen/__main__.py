"""``python -m lightning_gen``."""

import sys

import lightning_gen.openmp  # noqa: F401 (before torch)
from lightning_gen.cli import main

if __name__ == "__main__":
    sys.exit(main())
