"""The command line in the repository: ``python train.py fit dcgan_digits`` is ``lightning-gen fit dcgan_digits``."""

import sys

from lightning_gen.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
