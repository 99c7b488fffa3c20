"""Scores a checkpoint or a folder of images: ``python evaluate.py --ckpt runs/dcgan_digits --metrics fid``."""

import sys

from lightning_gen.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
