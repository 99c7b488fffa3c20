"""Builders of generators and discriminators.

A discriminator is head(minibatch_layer(body(images)), labels): a body from images to features, an optional layer that
measures the diversity of the batch, and a head from features to outputs. Its input is a batch of packs: of single
images, or of several images whose channels are concatenated.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from jaxtyping import Float, Int64
from torch import Tensor, nn

from lightning_gen.networks.dcgan import DCGANBody, DCGANDecoder, init_weights
from lightning_gen.networks.minibatch import MinibatchDiscrimination, MinibatchStddev
from lightning_gen.networks.mlp import MLPBody, MLPDecoder
from lightning_gen.networks.norms import apply_spectral_norm
from lightning_gen.networks.resnet import ResNetBody, ResNetGenerator
from lightning_gen.types import ImageShape

Architecture = Literal["mlp", "dcgan", "resnet"]
Norm = Literal["batch", "spectral", "none"]
MinibatchLayer = Literal["none", "discrimination", "stddev"]
Features = Float[Tensor, "packs features"]
PackLabels = Int64[Tensor, "packs packing"]


class LinearHead(nn.Linear):
    """A linear layer that ignores the labels."""

    def forward(self, features: Features, labels: PackLabels | None = None) -> Float[Tensor, "packs outputs"]:
        """Compute outputs from features."""
        return super().forward(features)


class ProjectionHead(nn.Module):
    """A linear layer plus the projection of the features on their class embedding: psi(f) + <V(y), f>.

    Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637, equation 3. The embeddings of a pack's labels are summed.

    Args:
        features: number of input features.
        num_classes: number of classes.
    """

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.classes = nn.Embedding(num_classes, features)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.xavier_uniform_(self.classes.weight)

    def forward(self, features: Features, labels: PackLabels) -> Float[Tensor, "packs 1"]:
        """Compute the logit of each pack."""
        return self.linear(features) + (self.classes(labels).sum(1) * features).sum(1, keepdim=True)


class Discriminator(nn.Module):
    """A body, a minibatch layer and a head.

    Args:
        body: module from images to features.
        minibatch_layer: module from features to features that depend on the whole batch, or the identity.
        head: module from features and labels to outputs, the logit first.
    """

    def __init__(self, body: nn.Module, minibatch_layer: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.minibatch_layer, self.head = body, minibatch_layer, head

    def forward(
        self, images: Float[Tensor, "packs channels height width"], labels: PackLabels | None = None
    ) -> Float[Tensor, "packs outputs"]:
        """Compute the outputs of each pack; the labels are required by a conditional head only."""
        return self.head(self.minibatch_layer(self.body(images)), labels)


def make_discriminator(
    architecture: Architecture,
    image_shape: ImageShape,
    hidden: Sequence[int],
    width: int,
    norm: Norm,
    minibatch: MinibatchLayer,
    make_head: Callable[[int], nn.Module],
) -> Discriminator:
    """Build a discriminator.

    Args:
        architecture: ``mlp``, ``dcgan`` or ``resnet``.
        image_shape: (channels, height, width) of the input, i.e. of a pack with its condition.
        hidden: widths of an MLP's layers, from the input to the features.
        width: number of channels of a convolutional network next to the image.
        norm: ``batch`` for BatchNorm, ``spectral`` for spectral normalisation of every layer, or ``none``.
        minibatch: ``discrimination`` (Salimans et al. 2016), ``stddev`` (Karras et al. 2018) or ``none``.
        make_head: function from the number of features to the head.

    Returns:
        The discriminator.

    Raises:
        InputError: if the architecture does not support the image size.
    """
    body: MLPBody | DCGANBody | ResNetBody
    if architecture == "mlp":
        body = MLPBody(image_shape, hidden, norm == "batch")
    elif architecture == "dcgan":
        body = DCGANBody(image_shape, width, norm == "batch")
    else:
        body = ResNetBody(image_shape, width, norm == "batch")
    minibatch_layer, features = make_minibatch_layer(minibatch, body.features)
    network = Discriminator(body, minibatch_layer, make_head(features))
    if architecture == "dcgan":
        network.head.apply(init_weights)
    if norm == "spectral":
        apply_spectral_norm(network)
    return network


def make_minibatch_layer(kind: MinibatchLayer, features: int) -> tuple[nn.Module, int]:
    """Build a minibatch layer for a number of input features; returns the layer and its number of output features."""
    if kind == "discrimination":
        layer = MinibatchDiscrimination(features)
        return layer, layer.out_features
    if kind == "stddev":
        return MinibatchStddev(), features + 1
    return nn.Identity(), features


def make_generator(
    architecture: Architecture, latent_dim: int, image_shape: ImageShape, hidden: Sequence[int], width: int
) -> nn.Sequential:
    """Build a generator from latents (batch, latent_dim) to images in [-1, 1].

    Args:
        architecture: ``mlp``, ``dcgan`` or ``resnet``.
        latent_dim: number of inputs.
        image_shape: (channels, height, width).
        hidden: widths of an MLP's hidden layers, from the image to the latents.
        width: number of channels of a convolutional network next to the image.

    Returns:
        The generator.

    Raises:
        InputError: if the architecture does not support the image size.
    """
    if architecture == "mlp":
        network: nn.Module = MLPDecoder(latent_dim, image_shape, hidden)
    elif architecture == "dcgan":
        network = DCGANDecoder(latent_dim, image_shape, width)
    else:
        network = ResNetGenerator(latent_dim, image_shape, width)
    return nn.Sequential(network, nn.Tanh())
