"""Train a model: ``python train.py fit --config configs/dcgan_digits.yaml``."""

import sys

import lightning_gen.openmp  # noqa: F401 (before torch)
from lightning_gen.cli import main

if __name__ == "__main__":
    sys.exit(main())
