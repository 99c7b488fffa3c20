"""A small convolutional classifier as feature extractor: trained once on the labelled dataset that is scored.

For digits and MNIST its features tell the classes apart, which Inception's, learned on photographs, need not; and it
needs no download. Its scores carry its name: they compare with one another, never with a published FID.

The features are a linear layer's, and labels are not smoothed: the Frechet distance takes features for Gaussian,
which rectified ones are not, and smoothing draws each class into a point, so that what is wrong within a class no
longer shows (Mueller et al. 2019, https://arxiv.org/abs/1906.02629).

Training is deterministic (own generators, on the CPU, on whatever device is scored), leaves torch's global random
state alone, and is done once: the weights are cached under the train set's content and the recipe.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.errors import InputError
from lightning_gen.evaluation.extractor import Extractor, Features, hash_weights
from lightning_gen.evaluation.files import Arrays, cache_path, cached
from lightning_gen.images import to_float
from lightning_gen.noise import mix_seed
from lightning_gen.types import Images, ImageSet, StoredImages

RECIPE = "2"
"""Version of everything below that the trained weights depend on; part of the cache's key."""
WIDTH = 64
SIZE = 32
BATCH = 128
SIGHT = 240_000
"""How many images (with repetition) training sees, within the bounds of ``EPOCHS``."""
EPOCHS = (4, 60)
PEAK_RATE = 3e-3
FACTS = ("accuracy", "image_shape")
"""What is kept beside the weights."""


class Network(nn.Module):
    """Three convolutions to a 4x4 (or smaller) map, a linear layer of ``WIDTH`` features, a linear classification.

    Args:
        channels: of the images.
        classes: how many classes to tell apart.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        widths = (channels, 16, 32, 64)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(widths)):
            size = 5 if number == 0 else 3
            layers += [nn.Conv2d(before, after, size, 2, size // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.hidden = nn.Linear(4 * widths[-1], WIDTH)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: Images) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch classes"]]:
        """Features and logits of images in [-1, 1] of at least 8x8."""
        features = self.hidden(self.body(images))
        return features, self.head(features)


class Classifier(Extractor):
    """The extractor ``classifier``: features of the penultimate layer (64), logits of the dataset's classes.

    Args:
        arrays: what ``trained`` gives.
        device: where it scores.
    """

    def __init__(self, arrays: Arrays, device: torch.device | str = "cpu") -> None:
        self.name = "classifier"
        self.own_classes = True
        self.device = torch.device(device)
        self.shape = tuple(arrays["image_shape"].tolist())
        self.classes = len(arrays["head.bias"])
        self.width = WIDTH
        self.resizer = f"area average to {SIZE}x{SIZE}" if max(self.shape[1:]) > SIZE else "none"
        self.accuracy = arrays["accuracy"].item()
        state = {name: torch.from_numpy(arrays[name]) for name in arrays if name not in FACTS}
        self.weights_hash = hash_weights(state)
        with torch.random.fork_rng(devices=[]):
            network = Network(self.shape[0], self.classes)
        network.load_state_dict(state)
        self.network = network.to(self.device).eval().requires_grad_(False)

    def __call__(self, images: StoredImages) -> Features:
        """Extract features and logits; see the base class."""
        if tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"the classifier learned from {self.shape} images and cannot see {tuple(images.shape[1:])}"
            )
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            vectors, logits = self.network(classifier_input(images.to(self.device)))
        return Features(vectors.cpu(), logits.cpu())


class StackedClassifier(Extractor):
    """The extractor ``classifier`` of images that are several images stacked in their channels (``StackedSet``).

    The classifier of those images looks at each by itself. With f_i its features and p_i its class probabilities for
    the i-th,

        features = (f_1, ..., f_k),    logit of the class (c_1, ..., c_k) = log p_1(c_1) + ... + log p_k(c_k)

    so the likeliest class is that of the likeliest classes (Metz et al. 2017, https://arxiv.org/abs/1611.02163).

    Args:
        part: classifier of the images that are stacked.
        stacked: how many make one.
    """

    def __init__(self, part: Classifier, stacked: int) -> None:
        self.name = part.name
        self.own_classes = True
        self.part = part
        self.stacked = stacked
        self.weights_hash = part.weights_hash
        self.resizer = part.resizer
        self.accuracy = part.accuracy
        self.width = stacked * part.width
        self.classes = part.classes**stacked
        self.shape = (stacked * part.shape[0], *part.shape[1:])

    def __call__(self, images: StoredImages) -> Features:
        """Extract features and logits; see the base class."""
        if tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"the classifier learned to see {self.stacked} images in the channels of one of {self.shape}, and "
                f"cannot see {tuple(images.shape[1:])}"
            )
        vectors, logits = self.part(images.reshape(-1, *self.part.shape))
        assert logits is not None
        logs = logits.log_softmax(1).unflatten(0, (-1, self.stacked))  # (images, stacked, classes of a part)
        joint = logs[:, 0]
        for more in logs.unbind(1)[1:]:
            joint = (joint[:, :, None] + more[:, None, :]).flatten(1)
        return Features(vectors.unflatten(0, (-1, self.stacked)).flatten(1), joint)

    def notes(self, channels: int) -> list[str]:
        """State what the accuracy is of; see the base class."""
        return [f"{self.stacked} images stacked in the channels, classified one by one; the test accuracy is of one"]


def classifier_input(images: StoredImages) -> Float[Tensor, "batch channels _ _"]:
    """Stored images as floats in [-1, 1], averaged down where a side is longer than ``SIZE``."""
    height, width = images.shape[2:]
    floats = to_float(images)
    if max(height, width) <= SIZE:
        return floats
    return F.adaptive_avg_pool2d(floats, (min(height, SIZE), min(width, SIZE)))


def shift(images: Images, rows: int, columns: int) -> Images:
    """Move images by whole pixels, repeating their edge."""
    height, width = images.shape[2:]
    reach = max(abs(rows), abs(columns))
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    return padded[:, :, reach + rows : reach + rows + height, reach + columns : reach + columns + width]


def trained(train: ImageSet, test: ImageSet) -> Arrays:
    """The classifier of a labelled dataset: read from the cache, or trained once and kept there.

    Args:
        train: labelled images to learn from.
        test: labelled images to measure the accuracy on.

    Returns:
        The weights by name, the test ``accuracy`` in [0, 1] and the ``image_shape``.

    Raises:
        InputError: when a set has no labels or the two are of different shapes.
    """
    keys = [RECIPE]
    for part in (train, test):
        if part.labels is None or len(part) == 0 or part.labels.min() < 0:
            raise InputError(f"{part.name} has no class labels to train a classifier with; use inception instead")
        keys += [part.key, sha256(part.labels.tobytes()).hexdigest()]
    if train[:1].shape != test[:1].shape:
        raise InputError(f"images of {train.name} and {test.name} are of different shapes")
    return cached(cache_path("classifier", *keys), lambda: fit(train, test))


def fit(train: ImageSet, test: ImageSet) -> Arrays:
    """Train the classifier: AdamW, one cycle of the learning rate, batches shifted by up to a sixteenth.

    Args:
        train: labelled images to learn from.
        test: labelled images to measure the accuracy on.

    Returns:
        What ``trained`` gives.
    """
    seed = mix_seed(int(RECIPE), "classifier")
    random = np.random.default_rng(seed)
    epochs = int(np.clip(SIGHT // len(train), *EPOCHS))
    labels = torch.from_numpy(np.asarray(train.labels))
    image_shape = tuple(train[:1].shape[1:])
    reach = max(1, min(SIZE, *image_shape[1:]) // 16)
    with (
        one_thread(),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.random.fork_rng(devices=[]),
    ):
        torch.default_generator.manual_seed(seed)  # the CPU's alone: torch.manual_seed would touch the GPUs'
        network = Network(image_shape[0], int(labels.max()) + 1)
        batches = [np.sort(part) for _ in range(epochs) for part in batches_of(random.permutation(len(train)))]
        optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=len(batches))
        for batch in batches:
            rows, columns = random.integers(-reach, reach + 1, size=2).tolist()
            images = shift(classifier_input(train[batch]), rows, columns)
            loss = F.cross_entropy(network(images)[1], labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        accuracy = measure_accuracy(network, test)
    facts = {"accuracy": np.asarray(accuracy), "image_shape": np.asarray(image_shape)}
    return {name: value.numpy() for name, value in network.state_dict().items()} | facts


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: the same sums in the same order on every machine, and no waiting where cores are shared.

    Yields:
        Nothing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def batches_of(order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Cut an order into batches of nearly one size, none of them of a single image where that can be."""
    return np.array_split(order, max(1, round(len(order) / BATCH)))


@torch.no_grad()
def measure_accuracy(network: Network, test: ImageSet) -> float:
    """The share of images whose largest logit is their label's."""
    right = 0
    for start in range(0, len(test), 1000):
        guesses = network(classifier_input(test[start : start + 1000]))[1].argmax(1)
        right += int((guesses.numpy() == np.asarray(test.labels)[start : start + 1000]).sum())
    return right / len(test)
