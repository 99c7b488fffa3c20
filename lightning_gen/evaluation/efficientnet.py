"""The feature extractor ``efficientnet_lite0``: a small network trained on ImageNet, for scores without a download.

The network and its weights (18.8 MB) are those of ``networks/efficientnet.py``. For an image of any size,

    x = (resize(image) - 127) / 128         resize: antialiased bicubic to 224x224, clipped to [0, 255]
    features = mean of f(x) over positions  f: all convolutions, the last one with 1280 channels
    logits = W features + b                 of ImageNet's 1000 classes

Importing this module adds the extractor to torch-fidelity's
registry: ``torch_fidelity.calculate_metrics(..., feature_extractor="efficientnet_lite0")``.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from torch_fidelity import register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from lightning_gen.errors import InputError
from lightning_gen.networks.efficientnet import EFFICIENTNET, MEAN, SCALE, load_efficientnet

Levels = Float[Tensor, "batch 3 _ _"] | UInt8[Tensor, "batch 3 _ _"]
SIZE = 224
CPU_BATCH = 4
"""On a CPU the network is fastest in batches whose activations fit the cache."""


class EfficientNetLite0(FeatureExtractorBase):
    """EfficientNet-Lite0 as a feature extractor of torch-fidelity, in eval mode and float32.

    Its layers are ``1280``, the pooled features, and ``logits``.

    Args:
        name: its name in torch-fidelity's registry.
        features_list: the requested layers.
        feature_extractor_weights_path: file of the weights; default: that of the installed package.
        feature_extractor_internal_dtype: ``float32``, the default.
        **kwargs: torch-fidelity's other options, which have no effect here.

    Raises:
        InputError: when the packages are not installed, the file is not that of the published weights, or another
            dtype is requested.
    """

    resizer = f"bicubic, antialiased, to {SIZE}x{SIZE}"

    def __init__(
        self,
        name: str,
        features_list: list[str],
        feature_extractor_weights_path: str | Path | None = None,
        feature_extractor_internal_dtype: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, features_list)
        if feature_extractor_internal_dtype not in (None, "float32"):
            raise InputError(f"{name} computes in float32, not {feature_extractor_internal_dtype}")
        network = load_efficientnet(feature_extractor_weights_path)
        self.network: Any = network.to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.eval()

    def forward(self, input: UInt8[Tensor, "batch 3 _ _"]) -> tuple[Float[Tensor, "batch _"], ...]:
        """Compute the requested layers of RGB images of any size, in the order in which they were requested."""
        vectors = self.pooled(input)
        layers = {"1280": vectors, "logits": self.network._fc(vectors)}
        return tuple(layers[layer] for layer in self.features_list)

    def pooled(self, levels: Levels) -> Float[Tensor, "batch 1280"]:
        """The layer ``1280`` of RGB images in [0, 255] of any size, which need not be whole numbers."""
        parts = levels.split(CPU_BATCH if levels.device.type == "cpu" else len(levels))
        return torch.cat([self.network.extract_features(network_input(part)).mean((2, 3)) for part in parts])

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """The names of the layers."""
        return "1280", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """The layer that a metric of torch-fidelity uses."""
        return {"isc": "logits", "fid": "1280", "kid": "1280", "prc": "1280"}[metric]

    @staticmethod
    def can_be_compiled() -> bool:
        """Whether torch-fidelity may compile the network."""
        return False


register_feature_extractor(EFFICIENTNET, EfficientNetLite0)


def network_input(images: Levels) -> Float[Tensor, "batch 3 224 224"]:
    """Resize with Pillow's bicubic filter, antialiased where images are larger, and scale to about [-1, 1]."""
    x = F.interpolate(images.float(), (SIZE, SIZE), mode="bicubic", antialias=True).clamp(0, 255)
    return ((x - MEAN) / SCALE).contiguous(memory_format=torch.channels_last)
