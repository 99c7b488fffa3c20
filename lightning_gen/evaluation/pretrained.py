"""torch-fidelity's feature extractors, loaded without running code from weights files.

torch-fidelity unpickles weights without restriction. Here Inception's and VGG-16's weights are read with
``weights_only=True`` and passed on as plain tensors.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY
from torchvision.models import VGG16_Weights

from lightning_gen.errors import InputError
from lightning_gen.evaluation.efficientnet import EfficientNetLite0  # adds the extractor to the registry
from lightning_gen.evaluation.extractor import Extractor, Features
from lightning_gen.hashing import weights_hash
from lightning_gen.networks.efficientnet import EFFICIENTNET
from lightning_gen.types import Images, StoredImages

INCEPTION = "inception-v3-compat"
"""torch-fidelity's name of the extractor ``inception``."""
OTHERS = tuple(name for name in FEATURE_EXTRACTORS_REGISTRY if name not in (INCEPTION, EFFICIENTNET))
PRETRAINED = ("inception", EFFICIENTNET, *OTHERS)
INCEPTION_SIZE = 299
CPU_BATCH = 8
"""On a CPU Inception is fastest in batches whose activations fit the cache. On one thread oneDNN uses another kernel
for small batches (features differ by float32 rounding, 1e-5, which changes KID), so batches are not split there."""


class Pretrained(Extractor):
    """A feature extractor of torch-fidelity's registry.

    The features are those of the layer that torch-fidelity uses for FID. Of these extractors only
    ``efficientnet_lite0`` has logits; IS is undefined for the others.

    Args:
        name: name in torch-fidelity's registry, e.g. ``efficientnet_lite0``, ``dinov2-vit-b-14``, ``vgg16``.
        device: device of the network.

    Raises:
        InputError: when the weights are not cached and cannot be downloaded, or a package is not installed.
    """

    layers: tuple[str, ...]

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        self.name = name
        self.device = torch.device(device)
        extractor_class = FEATURE_EXTRACTORS_REGISTRY[name]
        weights: Any = None
        with downloading(name):
            if name == "vgg16":
                url = VGG16_Weights.IMAGENET1K_V1.url
                weights = to_file(torch.hub.load_state_dict_from_url(url, check_hash=True, weights_only=True))
            layers = [extractor_class.get_default_feature_layer_for_metric("fid")]
            layers += [layer for layer in extractor_class.get_provided_features_list() if layer == "logits"]
            network = extractor_class(name, layers, feature_extractor_weights_path=weights, verbose=False)
        self.network: nn.Module = network.to(self.device)
        self.takes_floats = isinstance(network, EfficientNetLite0)
        self.weights_hash = weights_hash(network)
        size = getattr(network, "resolution", getattr(network, "INPUT_IMAGE_SIZE", None))
        self.resizer = getattr(network, "resizer", tensorflow_resizer(size))
        vectors, logits = self(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
        self.width = vectors.shape[1]
        self.classes = 0 if logits is None else logits.shape[1]

    @torch.inference_mode()
    def __call__(self, images: StoredImages) -> Features:
        """Extract the layer that torch-fidelity uses for FID, and logits if there are any; see the base class."""
        with torch.autocast(self.device.type, enabled=False):
            vectors, *logits = self.network(three_channels(images).to(self.device))
        return Features(vectors.float().cpu(), logits[0].float().cpu() if logits else None)

    @torch.inference_mode()
    def float_vectors(self, images: Images) -> Float[Tensor, "images features"]:
        """Extract features of images that are not rounded; see the base class."""
        if not isinstance(self.network, EfficientNetLite0):
            return super().float_vectors(images)
        with torch.autocast(self.device.type, enabled=False):
            return self.network.pooled(three_channels(to_levels(images)).to(self.device))

    def notes(self, channels: int) -> list[str]:
        """State that grey images were repeated to three channels; see the base class."""
        return ["one grey channel repeated to three"] if channels == 1 else []


class Inception(Pretrained):
    """torch-fidelity's Inception v3 of the published FID, IS and KID, with faster resizing.

    Features are the 2048 of the last pooling layer, logits the 1008 without bias (``logits_unbiased``). The layers are
    torch-fidelity's. Resizing is rearranged (rows after columns, grey images before they are repeated) so that the same
    arithmetic is done once per pixel.

    Args:
        weights: file of torch-fidelity's weights; downloaded once, to torch's cache, when None.
        device: device of the network.

    Raises:
        InputError: when the file is missing, damaged, of another network or not only tensors, or the download fails.
    """

    takes_floats = True

    def __init__(self, weights: Path | None = None, device: torch.device | str = "cpu") -> None:
        self.name = "inception"
        self.device = torch.device(device)
        if weights is not None:
            state = read_tensors(weights)
        else:
            with downloading(self.name):
                state = torch.hub.load_state_dict_from_url(
                    URL_INCEPTION_V3, map_location="cpu", check_hash=True, weights_only=True
                )
        try:
            network = FeatureExtractorInceptionV3(
                INCEPTION, ["2048"], feature_extractor_weights_path=to_file(state), verbose=False
            )
        except (RuntimeError, TypeError, AttributeError):
            source = weights or "the download"
            raise InputError(
                f"{source} holds no weights of Inception v3; the right file is {URL_INCEPTION_V3}"
            ) from None
        self.weights_hash = weights_hash(network)
        *trunk, head = network.to(self.device).children()  # registered in the order in which they run
        self.trunk = nn.Sequential(*trunk).eval()
        self.head: Float[Tensor, "classes features"] = head.weight
        self.width = head.in_features
        self.classes = 1000  # of the 1008 logits one is background and seven are unused
        self.resizer = tensorflow_resizer(INCEPTION_SIZE)

    @torch.inference_mode()
    def __call__(self, images: StoredImages) -> Features:
        """Extract the pooled features and the logits without bias; see the base class."""
        with torch.autocast(self.device.type, enabled=False):
            small = self.device.type == "cpu" and torch.get_num_threads() > 1
            parts = images.to(self.device).split(CPU_BATCH if small else len(images))
            vectors = torch.cat([self.pooled(part) for part in parts])
            logits = vectors.mm(self.head.T)
        return Features(vectors.cpu(), logits.cpu())

    @torch.inference_mode()
    def float_vectors(self, images: Images) -> Float[Tensor, "images features"]:
        """Extract features of images that are not rounded; see the base class."""
        with torch.autocast(self.device.type, enabled=False):
            return self.pooled(to_levels(images).to(self.device))

    def pooled(self, levels: StoredImages | Images) -> Float[Tensor, "batch features"]:
        """The pooled features of images in [0, 255]."""
        return self.trunk(three_channels(inception_input(levels))).flatten(1)


def inception_input(images: StoredImages | Images) -> Float[Tensor, "batch channels 299 299"]:
    """Resize to 299x299 as TensorFlow 1.x did, and scale to about [-1, 1): ``(x - 128) / 128``.

    With scale ``s = H / 299``, row ``i`` of the result lies at ``y = s i`` between rows ``floor(y)`` and
    ``floor(y) + 1`` (no antialiasing, corners not aligned), and likewise for columns. Bitwise equal to torch-fidelity's
    ``interpolate_bilinear_2d_like_tensorflow1x``: the arithmetic and its order are the same.

    Args:
        images: images in [0, 255] of any size.

    Returns:
        float32 images ``(batch, channels, 299, 299)``.
    """
    x = images.float()
    low, high, weight = bilinear_grid(x.shape[3], x.device)
    left = x[:, :, :, low]
    x = left + (x[:, :, :, high] - left) * weight  # (N, C, H, 299)
    low, high, weight = bilinear_grid(x.shape[2], x.device)
    top = x[:, :, low]
    x = top + (x[:, :, high] - top) * weight[:, None]  # (N, C, 299, 299)
    return (x - 128) / 128


def to_levels(images: Images) -> Images:
    """Images in [-1, 1] as values in [0, 255], clipped and not rounded."""
    return images.float().add(1.0).mul(127.5).clamp(0, 255)


def bilinear_grid(size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of Inception's 299 pixels the two neighbouring input pixels and the weight of the second."""
    position = torch.arange(INCEPTION_SIZE, dtype=torch.float32, device=device)
    position = position * torch.tensor(size / INCEPTION_SIZE, dtype=torch.float32)
    low = position.long()
    return low, (low + 1).clamp_max(size - 1), position - low.float()


def three_channels(images: Tensor) -> Tensor:
    """Repeat a grey channel to three; colour images are returned unchanged."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def tensorflow_resizer(size: int | None) -> str:
    """Description of torch-fidelity's resizer and its output size."""
    return f"torch-fidelity's TensorFlow 1.x bilinear, no antialiasing, to {size}x{size}"


def to_file(state: Mapping[str, Any]) -> io.BytesIO:
    """Write tensors to a file in memory, which torch-fidelity can load."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a state dict written by ``torch.save``.

    Args:
        path: the file.

    Returns:
        The tensors by name.

    Raises:
        InputError: when the file is missing, damaged or contains anything but tensors.
    """
    if not path.is_file():
        raise InputError(f"no file {path}; --inception_weights takes the file {URL_INCEPTION_V3}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise InputError(f"{path} holds more than tensors or is no PyTorch file, and was not loaded") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile):
        raise InputError(f"{path} is damaged or cut short; download {URL_INCEPTION_V3} again") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} is not a plain dictionary of tensors; the right file is {URL_INCEPTION_V3}")
    return state


def inception_is_local(weights: Path | None = None) -> bool:
    """Whether Inception needs no download: a file is given, or torch's cache has the published one."""
    return weights is not None or Path(torch.hub.get_dir(), "checkpoints", Path(URL_INCEPTION_V3).name).is_file()


@contextmanager
def downloading(name: str) -> Iterator[None]:
    """Turn a failed download inside the block into an :class:`InputError` with advice.

    Args:
        name: name of the extractor.

    Yields:
        Nothing.

    Raises:
        InputError: when the block cannot download its files or they are damaged.
    """
    try:
        yield
    except InputError:
        raise
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:  # URLError is an OSError
        if name == "inception":
            advice = f"download {URL_INCEPTION_V3} elsewhere and name the file with --inception_weights"
        else:
            advice = f"run once with a network, or copy torch's cache {torch.hub.get_dir()} from where it was"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"the weights of {name} cannot be fetched ({reason}): {advice}") from None
