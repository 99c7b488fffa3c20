"""Shared data types and capability protocols.

Images are float32 ``(batch, channels, height, width)`` in [-1, 1] wherever a model touches them and uint8 in [0, 255]
wherever they are stored, saved or scored; ``images.py`` converts. Callbacks, evaluation and inspection test for a
capability (``isinstance(model, ImageGenerator)``), never for a model's name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

Images = Float[Tensor, "batch channels height width"]
Inputs = Float[Tensor, "batch input_channels input_height input_width"]
"""What a translator makes images from, of another size or with other channels than the images."""
StoredImages = UInt8[Tensor, "batch channels height width"]
Labels = Int64[Tensor, "batch"]
Classes = Float[Tensor, "batch classes"]
"""Class weights of each image: a one-hot row, a mixture of two rows between two classes, or zeros for no class."""
DenoiserCondition = Classes | Inputs | None
"""What a denoiser is conditioned on: class rows, images, or None for nothing."""
Latents = Float[Tensor, "batch *latent"]
Styles = Float[Tensor, "batch layers style"]
"""One intermediate latent w per layer of a style-based generator."""
Transforms = Float[Tensor, "batch 3 3"]
"""Matrices A of homogeneous coordinates: what is at the position A p of an image comes to p. The image is a square of
side 1 with its centre at the origin, x to the right and y down."""
Codes = Int64[Tensor, "batch rows columns"]
LogWeights = Float[Tensor, "num batch"]
ImageShape = tuple[int, int, int]
"""(channels, height, width)"""
RandomSource = torch.Generator | Sequence[torch.Generator] | None
"""Source of noise: one generator for the batch, one per image, or None for torch's global generator."""


class Batch(NamedTuple):
    """One training batch of a rank.

    Attributes:
        images: images in [-1, 1].
        labels: integer class labels; None where the source has none.
        global_size: the number of images of the batch on all ranks together; None: as many on every rank.
        inputs: what a translator makes images from: the partner of each of ``images``, or as many images of another
            domain; None for data without inputs.
    """

    images: Images
    labels: Labels | None = None
    global_size: int | None = None
    inputs: Inputs | None = None


class Loss(NamedTuple):
    """A scalar loss to minimise and its named scalar terms, which are logged as ``loss/<name>``."""

    total: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]]


@dataclass(frozen=True)
class SamplingOptions:
    """Options of iterative sampling. They do not affect training; an option of None takes the model's default.

    Attributes:
        sampler: name of the sampler.
        steps: number of steps.
        spacing: spacing of the time steps; each model lists its own.
        eta: DDIM's share of fresh noise in [0, 1]: 0 is deterministic, 1 is ancestral sampling.
        churn: S_churn of ``stochastic_heun``: the total amount of noise added over all steps.
        guidance: scale w of classifier-free guidance: 1 is the conditional model, 0 the unconditional one.
        guidance_interval: lowest and highest noise level (sigma / alpha) at which guidance is applied.
        clip: whether every denoised image is clipped to [-1, 1].
    """

    sampler: str | None = None
    steps: int | None = None
    spacing: str | None = None
    eta: float | None = None
    churn: float | None = None
    guidance: float | None = None
    guidance_interval: tuple[float, float] | None = None
    clip: bool | None = None


@runtime_checkable
class ImageGenerator(Protocol):
    """A model that generates images."""

    def sample(self, num: int, *, labels: Labels | None = None, generator: RandomSource = None) -> Images:
        """Generate ``num`` images in [-1, 1]; image i depends on the i-th noise (and label) alone."""
        ...


@runtime_checkable
class IterativeModel(Protocol):
    """A model that makes images from noise in several steps, with configurable options."""

    sampling: SamplingOptions
    """Assigning resolves options of None to the model's defaults. Raises ``InputError`` for invalid options."""
    progress_callback: Callable[[float], None] | None
    """Called after each step with the number of images that the step amounts to."""


@runtime_checkable
class IterativeGenerator(ImageGenerator, IterativeModel, Protocol):
    """An image generator that is an iterative model."""


@runtime_checkable
class Reconstructor(Protocol):
    """A model that reconstructs images."""

    def reconstruct(self, images: Images, *, labels: Labels | None = None) -> Images:
        """Reconstruct images. Only conditional models use the labels, and require them."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Maps images to latents."""

    def encode(self, images: Images, *, labels: Labels | None = None) -> Latents:
        """Encode images. Only conditional models use the labels, and require them."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """Maps latents to images."""

    def decode(self, latents: Latents) -> Images:
        """Decode latents."""
        ...


@runtime_checkable
class LatentGenerator(Protocol):
    """A decoder with a prior over its latents."""

    def sample_latents(self, num: int, *, generator: RandomSource = None) -> Latents:
        """Sample ``num`` latents from the prior."""
        ...

    def decode(self, latents: Latents) -> Images:
        """Decode latents."""
        ...


@runtime_checkable
class StyleMapper(LatentGenerator, Protocol):
    """A generator that maps latents z to intermediate latents w, and one w per layer to an image."""

    num_styles: int
    """Number of styles of an image, one per layer."""
    truncation: float
    """psi: styles w become m + psi (w - m) with their average m before they are decoded; 1 for no truncation."""
    truncated_layers: int | None
    """Number of layers, from the coarsest, whose styles are truncated; None for all."""

    @property
    def style_average(self) -> Float[Tensor, " style"]:
        """The average m of the styles."""
        ...

    def styles(self, latents: Latents) -> Styles:
        """Styles of latents, not truncated."""
        ...

    def decode_styles(self, styles: Styles) -> Images:
        """Decode styles as they are, with constant noise; gradients flow into styles that require them."""
        ...


@runtime_checkable
class TransformableGenerator(LatentGenerator, Protocol):
    """A generator whose images can be moved before they are sampled: its input is a function of the position."""

    image_shape: ImageShape
    """(channels, side, side) of its images."""
    transformable: bool
    """False for a model that has such an input as an option, and was built without it."""

    def decode_transformed(self, latents: Latents, matrices: Transforms) -> Images:
        """Decode latents after a transform of the input, with constant noise. The images are not clipped to [-1, 1].

        The image moves exactly as the input only if the generator is equivariant.
        """
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """Maps images to codes of a finite codebook, and back."""

    codebook_size: int
    """Number of codes."""

    def tokenize(self, images: Images) -> Codes:
        """Codes of images, each in [0, codebook_size)."""
        ...

    def detokenize(self, codes: Codes) -> Images:
        """Images of codes."""
        ...


@runtime_checkable
class LikelihoodModel(Protocol):
    """A latent-variable model p(x, z) with an approximate posterior q(z | x)."""

    likelihood: str
    """p(x | z): ``bernoulli`` on pixels in [0, 1], or ``gaussian``, a density of pixels in [-1, 1]."""

    def log_weights(
        self, images: Images, num: int, *, labels: Labels | None = None, generator: RandomSource = None
    ) -> LogWeights:
        """Log w = log p(x | z) + log p(z) - log q(z | x) in nats for ``num`` samples z ~ q(z | x) per image.

        With several generators, the samples of image i depend on the i-th alone. A conditional model requires labels,
        and every distribution is conditional on them. No graph is recorded.
        """
        ...


@runtime_checkable
class DensityModel(Protocol):
    """A model that evaluates log p(x), or a lower bound of it, without latents: a flow or a diffusion model."""

    density: bool
    """True if p is a density of real numbers, which requires dequantised images; False if p is the probability of
    images with 256 levels."""

    def describe_log_prob(self, num: int | None) -> str:
        """Short description, for a score card, of how ``log_prob`` computes its value with ``num``."""
        ...

    def log_prob(
        self, images: Images, num: int | None = None, *, labels: Labels | None = None, generator: RandomSource = None
    ) -> Float[Tensor, " batch"]:
        """Log p of images in [-1, 1], in nats, estimated with ``num`` random draws per image (None: the default).

        With several generators, the value of image i depends on the i-th alone. A conditional model requires labels,
        and p is conditional on them. No graph is recorded.
        """
        ...


@runtime_checkable
class Translator(Protocol):
    """Maps images of one domain to another: image translation, super-resolution."""

    input_shape: ImageShape
    """(channels, height, width) of the inputs in training; ``image_shape`` is that of the translations. Both heights
    and widths have one ratio, the scale."""
    needs_pairs: bool
    """Whether it is trained on pairs of an input and its target."""
    context: int | None
    """The largest distance, in input pixels, of an input pixel from the pixels of the translation that depend on it;
    None if every pixel depends on the whole input."""

    def translate(self, inputs: Inputs, *, generator: RandomSource = None) -> Images:
        """Translate images of any height and width to images in [-1, 1], ``scale`` times as high and wide.

        Translation i depends on the i-th input and, for a model that draws noise, the i-th generator alone.
        """
        ...


@runtime_checkable
class TwoWayTranslator(Translator, Protocol):
    """A translator that also maps the second domain to the first."""

    def translate_back(self, images: Images, *, generator: RandomSource = None) -> Images:
        """Translate images of the second domain to the first; otherwise as ``translate``."""
        ...


@runtime_checkable
class PerceptualModel(Protocol):
    """A model whose loss compares features of a network."""

    perceptual: str
    """Name of the network; ``classifier`` is the suite's classifier of the training data."""
    perceptual_weights: str | None
    """File of the network's weights."""


@runtime_checkable
class ImageSet(Protocol):
    """A fixed, ordered set of stored images: one split of a dataset, decoded."""

    name: str
    """Dataset and split, e.g. ``mnist/train``."""
    key: str
    """Hash of the images' content and size; two sets with the same key hold the same images."""
    labels: npt.NDArray[np.int64] | None
    """Class of each image; None if the dataset has no labels."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, index: slice | npt.NDArray[np.int64]) -> StoredImages:
        """Gather images as uint8 ``(k, channels, height, width)`` on the CPU."""
        ...


@runtime_checkable
class UnequalImageSet(ImageSet, Protocol):
    """An image set whose images differ in size. It is indexed by one image at a time: ``images[i : i + 1]``."""

    sizes: Sequence[tuple[int, int]]
    """(height, width) of each image."""


class PairSet(NamedTuple):
    """The inputs and the targets of a split.

    Attributes:
        inputs: images to translate.
        images: images of the target domain.
        paired: whether input i is the partner of image i. The training images of two domains are not paired; where one
            is computed from the other, those of validation and test are.
    """

    inputs: ImageSet
    images: ImageSet
    paired: bool


@runtime_checkable
class StackedSet(ImageSet, Protocol):
    """An image set whose images are several labelled images of another set, stacked in the channels.

    Its classes are the tuples of their classes, numbered in lexical order.
    """

    @property
    def parts(self) -> ImageSet:
        """The set whose images are stacked."""
        ...

    @property
    def stacked(self) -> int:
        """Number of images stacked into one."""
        ...


@runtime_checkable
class ImageSource(Protocol):
    """An object with image sets by split, such as the data module."""

    def image_set(self, split: str) -> ImageSet:
        """The image set of ``train``, ``val`` or ``test``."""
        ...


@runtime_checkable
class PairSource(ImageSource, Protocol):
    """An image source that may also have inputs, such as the data module."""

    def pair_set(self, split: str) -> PairSet | None:
        """The inputs and targets of a split; None for data without inputs. The targets are ``image_set(split)``."""
        ...


@runtime_checkable
class TwoPlayers(Protocol):
    """A model whose generators and discriminators are trained by alternating steps."""

    images_seen: int
    batches_seen: int
    last_terms: Mapping[str, Tensor]
    """Latest value of each loss term, detached: ``discriminator``, ``generator``, ``real_logit``, ``fake_logit``."""

    def generators(self) -> Sequence[nn.Module]:
        """Networks trained by the first optimizer."""
        ...

    def discriminators(self) -> Sequence[nn.Module]:
        """Networks trained by the second optimizer."""
        ...
