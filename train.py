"""Train a model: ``python train.py fit --config configs/dcgan_digits.yaml``."""

import sys

from lightning_gen.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
