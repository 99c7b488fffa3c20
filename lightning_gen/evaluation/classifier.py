"""The extractor ``classifier``: a small convolutional network trained on the labelled dataset that is scored.

Its features separate the classes of digits and MNIST, which Inception's, trained on photographs, need not do, and it
needs no download. Its scores compare with one another, not with published FIDs.

The features are the outputs of a linear layer, and labels are not smoothed. The Frechet distance assumes Gaussian
features, which rectified ones are not, and label smoothing contracts each class to a point, which hides defects within
a class (Mueller et al. 2019, https://arxiv.org/abs/1906.02629).

Training is deterministic: it has its own generators and always runs on the CPU. It leaves
torch's global random state unchanged. The weights are cached under the train set's content and the recipe's version.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lightning_gen.errors import InputError
from lightning_gen.evaluation.array_cache import Arrays, cache_path, cached
from lightning_gen.evaluation.extractor import Extractor, Features
from lightning_gen.hashing import weights_hash
from lightning_gen.images import to_float
from lightning_gen.networks.classifier import MAX_SIDE, NUM_FEATURES, ClassifierNetwork, shrink
from lightning_gen.noise import mix_seed
from lightning_gen.types import Images, ImageSet, StoredImages

RECIPE = "3"
"""Version of everything in this file and of the network that the trained weights depend on; part of the cache key."""
BATCH_SIZE = 128
TRAIN_IMAGES = 240_000
"""The number of images (with repetition) in training, within the bounds of ``EPOCHS``."""
EPOCHS = (4, 60)
"""The smallest and the largest number of epochs."""
PEAK_LR = 3e-3
FACTS = ("accuracy", "image_shape")
"""Names of the cached arrays that are not weights."""


class Classifier(Extractor):
    """The extractor ``classifier``: features of the penultimate layer (64), logits of the dataset's classes.

    Args:
        arrays: the result of :func:`trained_classifier`.
        device: device of the network.
    """

    takes_floats = True

    def __init__(self, arrays: Arrays, device: torch.device | str = "cpu") -> None:
        self.name = "classifier"
        self.own_classes = True
        self.device = torch.device(device)
        self.shape = tuple(arrays["image_shape"].tolist())
        self.classes = len(arrays["head.bias"])
        self.width = NUM_FEATURES
        self.resizer = f"area average to {MAX_SIDE}x{MAX_SIDE}" if max(self.shape[1:]) > MAX_SIDE else "none"
        self.accuracy = arrays["accuracy"].item()
        state = {name: torch.from_numpy(arrays[name]) for name in arrays if name not in FACTS}
        self.weights_hash = weights_hash(state)
        with torch.random.fork_rng(devices=[]):
            network = ClassifierNetwork(self.shape[0], self.classes)
        network.load_state_dict(state)
        self.network = network.to(self.device).eval().requires_grad_(False)

    def __call__(self, images: StoredImages) -> Features:
        """Extract features and logits; see the base class."""
        if tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"the classifier was trained on images of shape {self.shape}; it cannot see {tuple(images.shape[1:])}"
            )
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            vectors, logits = self.network(classifier_input(images.to(self.device)))
        return Features(vectors.cpu(), logits.cpu())

    @torch.inference_mode()
    def float_vectors(self, images: Images) -> Float[Tensor, "images features"]:
        """Extract features of images that are not rounded; see the base class."""
        with torch.autocast(self.device.type, enabled=False):
            return self.network(shrink(images.to(self.device)))[0]


class StackedClassifier(Extractor):
    """The extractor ``classifier`` of images that consist of several images stacked in the channels (``StackedSet``).

    A classifier of single images is applied to each of the k parts. With features f_i and class probabilities p_i of
    the i-th part,

        features = (f_1, ..., f_k),    logit of the class (c_1, ..., c_k) = log p_1(c_1) + ... + log p_k(c_k)

    so the likeliest class consists of the parts' likeliest classes (Metz et al. 2017, https://arxiv.org/abs/1611.02163).

    Args:
        part: classifier of single images.
        stacked: the number of parts, k.
    """

    takes_floats = True

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
                f"the classifier takes {self.stacked} images stacked in the channels, of shape {self.shape}; it "
                f"cannot see {tuple(images.shape[1:])}"
            )
        vectors, logits = self.part(images.reshape(-1, *self.part.shape))
        assert logits is not None
        log_probs = logits.log_softmax(1).unflatten(0, (-1, self.stacked))  # (images, stacked, classes of a part)
        joint = log_probs[:, 0]
        for part_log_probs in log_probs.unbind(1)[1:]:
            joint = (joint[:, :, None] + part_log_probs[:, None, :]).flatten(1)
        return Features(vectors.unflatten(0, (-1, self.stacked)).flatten(1), joint)

    def float_vectors(self, images: Images) -> Float[Tensor, "images features"]:
        """Extract features of images that are not rounded; see the base class."""
        vectors = self.part.float_vectors(images.reshape(-1, *self.part.shape))
        return vectors.unflatten(0, (-1, self.stacked)).flatten(1)

    def notes(self, channels: int) -> list[str]:
        """State that the accuracy is that of single images; see the base class."""
        return [f"{self.stacked} images stacked in the channels, classified one by one; the test accuracy is of one"]


def classifier_input(images: StoredImages) -> Float[Tensor, "batch channels _ _"]:
    """Stored images as floats in [-1, 1], averaged down where a side is longer than ``MAX_SIDE``."""
    return shrink(to_float(images))


def shift(images: Images, rows: int, columns: int) -> Images:
    """Translate images by whole pixels, repeating the edge."""
    height, width = images.shape[2:]
    pad = max(abs(rows), abs(columns))
    padded = F.pad(images, (pad,) * 4, mode="replicate")
    return padded[:, :, pad + rows : pad + rows + height, pad + columns : pad + columns + width]


def trained_classifier(train: ImageSet, test: ImageSet) -> Arrays:
    """Train the classifier of a labelled dataset, or read it from the cache.

    Args:
        train: labelled images to train with.
        test: labelled images to measure the accuracy with.

    Returns:
        The weights by name, the test ``accuracy`` in [0, 1] and the ``image_shape``.

    Raises:
        InputError: when a set has no labels, or the two have different image shapes.
    """
    if train[:1].shape != test[:1].shape:
        raise InputError(f"images of {train.name} and {test.name} have different shapes")
    path = classifier_path(train, test)
    shape, classes = tuple(train[:1].shape[1:]), int(np.asarray(train.labels).max()) + 1
    return cached(path, lambda: fit(train, test), lambda arrays: is_classifier(arrays, shape, classes))


def is_classifier(arrays: Arrays, image_shape: tuple[int, ...], num_classes: int) -> bool:
    """Whether arrays from the cache are the result of :func:`fit` for images of a shape, and a number of classes."""
    with torch.device("meta"):
        shapes = {
            name: tuple(value.shape)
            for name, value in ClassifierNetwork(image_shape[0], num_classes).state_dict().items()
        }
    shapes |= {"accuracy": (), "image_shape": (3,)}
    return (
        {name: array.shape for name, array in arrays.items()} == shapes
        and all(np.issubdtype(array.dtype, np.number) and np.isfinite(array).all() for array in arrays.values())
        and tuple(arrays["image_shape"].tolist()) == image_shape
    )


def classifier_path(train: ImageSet, test: ImageSet) -> Path:
    """The file in the cache that :func:`trained_classifier` writes.

    Args:
        train: labelled images to train with.
        test: labelled images to measure the accuracy with.

    Returns:
        The path.

    Raises:
        InputError: when a set has no labels.
    """
    keys = [RECIPE]
    for part in (train, test):
        if part.labels is None or len(part) == 0 or part.labels.min() < 0:
            raise InputError(
                f"{part.name} has no class labels to train a classifier with; use inception or efficientnet_lite0"
            )
        keys += [part.key, sha256(part.labels.tobytes()).hexdigest()]
    return cache_path("classifier", *keys)


def fit(train: ImageSet, test: ImageSet) -> Arrays:
    """Train with AdamW and a one-cycle learning rate; each batch is shifted by up to a sixteenth of the side."""
    seed = mix_seed(int(RECIPE), "classifier")
    random = np.random.default_rng(seed)
    epochs = int(np.clip(TRAIN_IMAGES // len(train), *EPOCHS))
    labels = torch.from_numpy(np.asarray(train.labels))
    image_shape = tuple(train[:1].shape[1:])
    max_shift = max(1, min(MAX_SIDE, *image_shape[1:]) // 16)
    with (
        one_thread(),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.random.fork_rng(devices=[]),
    ):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPUs
        network = ClassifierNetwork(image_shape[0], int(labels.max()) + 1)
        batches = [np.sort(part) for _ in range(epochs) for part in split_batches(random.permutation(len(train)))]
        optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_LR, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=len(batches))
        for batch in batches:
            rows, columns = random.integers(-max_shift, max_shift + 1, size=2).tolist()
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
    """Compute on one thread, so that sums have the same order on every machine.

    Yields:
        Nothing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def split_batches(order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Split an order into batches of nearly equal size."""
    return np.array_split(order, max(1, round(len(order) / BATCH_SIZE)))


@torch.no_grad()
def measure_accuracy(network: ClassifierNetwork, test: ImageSet) -> float:
    """The share of images that are classified correctly."""
    correct = 0
    for start in range(0, len(test), 1000):
        predictions = network(classifier_input(test[start : start + 1000]))[1].argmax(1)
        correct += int((predictions.numpy() == np.asarray(test.labels)[start : start + 1000]).sum())
    return correct / len(test)
