"""Discriminators in parts: a body from images to features, a layer that compares the batch, and a head.

logits = head(compare(body(images)), labels)
"""

from collections.abc import Callable, Sequence
from typing import Literal

from jaxtyping import Float, Int64
from torch import Tensor, nn

from lightning_gen.networks.dcgan import DCGANBody, DCGANDecoder, initialise
from lightning_gen.networks.minibatch import MinibatchDiscrimination, MinibatchStddev
from lightning_gen.networks.mlp import MLPBody, MLPDecoder
from lightning_gen.networks.norms import spectrally_normalised
from lightning_gen.networks.resnet import ResNetBody, ResNetGenerator
from lightning_gen.types import ImageShape

PlayerKind = Literal["mlp", "dcgan", "resnet"]
Norm = Literal["batch", "spectral", "none"]
Comparison = Literal["none", "discrimination", "stddev"]
Features = Float[Tensor, "judged features"]
PackLabels = Int64[Tensor, "judged packing"]


class LinearHead(nn.Linear):
    """A linear layer that looks at no label."""

    def forward(self, features: Features, labels: PackLabels | None = None) -> Float[Tensor, "judged outputs"]:
        """Judge features."""
        return super().forward(features)


class ProjectionHead(nn.Module):
    """A linear layer plus the features' projection on their class: psi(f) + <V(y), f>.

    Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637, equation 3. The classes of a pack are added up.

    Args:
        features: inputs.
        num_classes: how many classes there are.
    """

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.classes = nn.Embedding(num_classes, features)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.xavier_uniform_(self.classes.weight)

    def forward(self, features: Features, labels: PackLabels) -> Float[Tensor, "judged 1"]:
        """Judge features as those of images of these classes."""
        return self.linear(features) + (self.classes(labels).sum(1) * features).sum(1, keepdim=True)


class Discriminator(nn.Module):
    """Body, comparison with the rest of the batch, head.

    Args:
        body: images to features.
        compare: features to features in the light of the other images of the batch.
        head: features and labels to outputs, logits first.
    """

    def __init__(self, body: nn.Module, compare: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.compare, self.head = body, compare, head

    def forward(
        self, images: Float[Tensor, "judged channels height width"], labels: PackLabels | None = None
    ) -> Float[Tensor, "judged outputs"]:
        """Judge images, or packs of them as one image each, with the classes of each where the head asks for them."""
        return self.head(self.compare(self.body(images)), labels)


def make_discriminator(
    kind: PlayerKind,
    image_shape: ImageShape,
    hidden: Sequence[int],
    width: int,
    norm: Norm,
    compare: Comparison,
    head: Callable[[int], nn.Module],
) -> Discriminator:
    """Put a discriminator together.

    Args:
        kind: its architecture.
        image_shape: (channels, height, width) of what it is shown.
        hidden: widths of an MLP's layers from the image's side.
        width: channels of a convolutional network next to the image.
        norm: ``batch`` for BatchNorm, ``spectral`` to bound every layer's largest singular value to 1, or ``none``.
        compare: ``discrimination`` (Salimans et al. 2016) or ``stddev`` (Karras et al. 2018) takes the other images of
            the batch into account; ``none`` does not.
        head: makes the head for a number of features.

    Returns:
        The discriminator.

    Raises:
        InputError: when the architecture cannot take images of this size.
    """
    body: MLPBody | DCGANBody | ResNetBody
    if kind == "mlp":
        body = MLPBody(image_shape, hidden, norm == "batch")
    elif kind == "dcgan":
        body = DCGANBody(image_shape, width, norm == "batch")
    else:
        body = ResNetBody(image_shape, width, norm == "batch")
    comparison, features = make_comparison(compare, body.features)
    network = Discriminator(body, comparison, head(features))
    if kind == "dcgan":
        network.head.apply(initialise)
    if norm == "spectral":
        spectrally_normalised(network)
    return network


def make_comparison(kind: Comparison, features: int) -> tuple[nn.Module, int]:
    """Build the layer that compares the images of a batch.

    Args:
        kind: which.
        features: its inputs.

    Returns:
        The layer and the number of its outputs.
    """
    if kind == "discrimination":
        layer = MinibatchDiscrimination(features)
        return layer, layer.outputs
    if kind == "stddev":
        return MinibatchStddev(), features + 1
    return nn.Identity(), features


def make_generator(
    kind: PlayerKind, latent_dim: int, image_shape: ImageShape, hidden: Sequence[int], width: int
) -> nn.Sequential:
    """Build a generator: latents (batch, latent_dim) to images in [-1, 1].

    Args:
        kind: its architecture.
        latent_dim: its inputs.
        image_shape: (channels, height, width).
        hidden: widths of an MLP's layers from the image's side.
        width: channels of a convolutional network next to the image.

    Returns:
        The generator.

    Raises:
        InputError: when the architecture cannot make images of this size.
    """
    if kind == "mlp":
        network: nn.Module = MLPDecoder(latent_dim, image_shape, hidden)
    elif kind == "dcgan":
        network = DCGANDecoder(latent_dim, image_shape, width)
    else:
        network = ResNetGenerator(latent_dim, image_shape, width)
    return nn.Sequential(network, nn.Tanh())
