"""LPIPS, a learned distance of images (Zhang et al. 2018, https://arxiv.org/abs/1801.03924).

    d(x, y) = sum_l mean_hw sum_c w_lc (f_lc(x) - f_lc(y))^2

f_l are the outputs of AlexNet's five ReLUs, normalised to length 1 over the channels c, and w_l are the weights
learned from human judgements, version 0.1, which torchmetrics contains. AlexNet's own weights are read from a file.
"""

from pathlib import Path
from pickle import UnpicklingError

import torch
import torchmetrics.functional.image as torchmetrics_image
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torchvision.models import alexnet

from lightning_gen.errors import InputError
from lightning_gen.hashing import weights_hash
from lightning_gen.images import to_float
from lightning_gen.types import Images, StoredImages

WANTED = "a file of AlexNet's weights (torchvision's alexnet-owt-7be5be79.pth)"
"""What is needed, in messages."""
MIN_SIDE = 31
"""The smallest height and width for which AlexNet's last layers have an output."""
MEAN = (-0.030, -0.088, -0.188)
STD = (0.458, 0.448, 0.450)
EPSILON = 1e-8
"""Added to the squared length of features."""


class Lpips:
    """The distance of pairs of images by AlexNet's features.

    Args:
        weights: a file of AlexNet's weights as torchvision publishes them; None raises, with the name of the option.
        device: device of the network.

    Attributes:
        weights_hash: hash of AlexNet's weights.

    Raises:
        InputError: when there is no file, or it does not contain AlexNet's weights.
    """

    def __init__(self, weights: Path | None, device: torch.device | str = "cpu") -> None:
        if weights is None:
            raise InputError(f"lpips needs {WANTED}; name it with --lpips_weights")
        self.device = torch.device(device)
        state = read_backbone(weights)
        self.weights_hash = weights_hash(state)
        with torch.random.fork_rng(devices=[]):
            layers = alexnet(weights=None).features
        try:
            layers.load_state_dict(state)
        except RuntimeError:
            raise InputError(f"{weights} does not contain AlexNet's weights; give {WANTED}") from None
        self.layers = layers[:-1].to(self.device).eval().requires_grad_(False)  # without the last pooling
        heads = torch.load(
            Path(torchmetrics_image.__file__).parent / "lpips_models" / "alex.pth",
            map_location="cpu",
            weights_only=True,
        )
        self.heads = [heads[f"lin{index}.model.1.weight"].to(self.device) for index in range(5)]

    def __call__(self, images: StoredImages, targets: StoredImages) -> Float64[Tensor, " batch"]:
        """Distance of each pair, at least 0; 0 for equal images.

        Args:
            images: uint8 images with one or three channels; a grey image is repeated.
            targets: images of the same height and width.

        Returns:
            One value per pair, on the CPU.

        Raises:
            InputError: when the images are smaller than ``MIN_SIDE``.
        """
        height, width = images.shape[-2:]
        if min(height, width) < MIN_SIDE:
            raise InputError(f"lpips needs images of {MIN_SIDE}x{MIN_SIDE} or more, not {width}x{height}")
        with torch.inference_mode():
            return self.distance(to_float(images.to(self.device)), to_float(targets.to(self.device))).cpu()

    def distance(self, images: Images, targets: Images) -> Float64[Tensor, " batch"]:
        """Distance of each pair of images in [-1, 1] that are not rounded, on the network's device.

        Args:
            images: images on the network's device, with one or three channels; gradients flow into them.
            targets: images of the same height and width.

        Returns:
            One value per pair.
        """
        with torch.autocast(self.device.type, enabled=False):
            features = zip(self.features(images), self.features(targets), strict=True)
            distances = [
                nn.functional.conv2d((x - y).square(), head).mean((1, 2, 3)).double()
                for (x, y), head in zip(features, self.heads, strict=True)
            ]
        return torch.stack(distances).sum(0)

    def features(self, images: Images) -> list[Float[Tensor, "batch _ _ _"]]:
        """Outputs of the five ReLUs, normalised over the channels."""
        mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        values, outputs = (images.expand(-1, 3, -1, -1) - mean) / std, []
        for layer in self.layers:
            values = layer(values)
            if isinstance(layer, nn.ReLU):
                outputs.append(values / (values.square().sum(1, keepdim=True) + EPSILON).sqrt())
        return outputs


def read_backbone(path: Path) -> dict[str, Tensor]:
    """Read the weights of AlexNet's convolutions from a file; an :class:`InputError` if it cannot be read."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        reason = "does not exist" if not path.exists() else "cannot be read as weights"
        raise InputError(f"{path} {reason}; give {WANTED}") from error
    prefix = "features."
    if not isinstance(saved, dict) or not any(str(name).startswith(prefix) for name in saved):
        raise InputError(f"{path} does not contain AlexNet's weights; give {WANTED}")
    return {name.removeprefix(prefix): value for name, value in saved.items() if name.startswith(prefix)}
