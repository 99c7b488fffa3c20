"""Scores a checkpoint or a folder of images: ``python evaluate.py --ckpt runs/dcgan_digits/<run> --metrics fid``."""

import sys

import lightning_gen.openmp  # noqa: F401 (before torch)
from lightning_gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
