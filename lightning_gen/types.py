"""What the rooms of the suite hand to one another: batches, losses, image sets, and capabilities.

Images are float32 ``(batch, channels, height, width)`` in [-1, 1] wherever a model touches them and uint8 in
[0, 255] wherever they are stored, saved or scored; ``images.py`` converts. Callbacks, evaluation and reports ask for
a capability (``isinstance(model, Sampler)``), never for a model's name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

Images = Float[Tensor, "batch channels height width"]
StoredImages = UInt8[Tensor, "batch channels height width"]
Labels = Int64[Tensor, "batch"]
Classes = Float[Tensor, "batch classes"]
"""The class of each image as a one-hot row, between two classes a mixture of theirs, and zeros for none."""
Latents = Float[Tensor, "batch *latent"]
Codes = Int64[Tensor, "batch rows columns"]
LogWeights = Float[Tensor, "num batch"]
ImageShape = tuple[int, int, int]
"""(channels, height, width)"""
Randomness = torch.Generator | Sequence[torch.Generator] | None
"""Where noise comes from: one generator for the batch, one for each image, or torch's global generator."""


class Batch(NamedTuple):
    """One training batch: images in [-1, 1] and, where the source has them, integer class labels."""

    images: Images
    labels: Labels | None = None


class Loss(NamedTuple):
    """A loss to minimise and the named terms that it is made of, each a scalar.

    The terms are logged under their names (``loss/kl`` ...); the total is what is differentiated.
    """

    total: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]]


@dataclass(frozen=True)
class Sampling:
    """How images are made out of noise step by step: an argument of drawing, and nothing that a model is trained for.

    Attributes:
        sampler: name of the sampler; what is not given is the model's own choice, here and below.
        steps: how many steps it takes.
        spacing: how the steps lie between noise and image; the model names its kinds.
        eta: of the sampler ``ddim``: 0 is deterministic, 1 redraws as much noise as DDPM.
        churn: of the sampler ``stochastic_heun``: how much noise is added on the way, over all steps.
        guidance: scale w of classifier-free guidance: 1 is the conditional model, 0 the unconditional one.
        guidance_interval: the least and the largest noise (sigma / alpha) at which guidance acts.
        clip: whether every denoised image is clipped to [-1, 1] on the way.
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
class Sampler(Protocol):
    """Draws new images."""

    def sample(self, num: int, *, labels: Labels | None = None, generator: Randomness = None) -> Images:
        """Draw ``num`` images in [-1, 1]; image i depends on the i-th noise (and label) alone."""
        ...


@runtime_checkable
class GradualSampler(Sampler, Protocol):
    """Draws new images step by step out of noise, in a way that can be asked for."""

    sampling: Sampling
    """How; setting it fills in what is not given, and refuses what the model cannot do (``InputError``)."""
    drawn: Callable[[float], None] | None
    """Told after each step how many images' worth of work it was."""


@runtime_checkable
class Reconstructor(Protocol):
    """Maps images to their reconstructions."""

    def reconstruct(self, images: Images, *, labels: Labels | None = None) -> Images:
        """Reconstruct images; range and shape stay. Only a conditional model looks at the classes, and needs them."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Maps images to latents."""

    def encode(self, images: Images, *, labels: Labels | None = None) -> Latents:
        """Encode images. Only a conditional model looks at the classes, and needs them."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """Maps latents to images."""

    def decode(self, latents: Latents) -> Images:
        """Decode latents."""
        ...


@runtime_checkable
class LatentSampler(Protocol):
    """A Decoder with a known prior over its latents."""

    def sample_latents(self, num: int, *, generator: Randomness = None) -> Latents:
        """Draw ``num`` latents from the prior."""
        ...

    def decode(self, latents: Latents) -> Images:
        """Decode latents."""
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """Maps images to codes out of a finite codebook, and back."""

    codebook_size: int
    """How many codes there are."""

    def tokenize(self, images: Images) -> Codes:
        """The codes of images, each in [0, codebook_size)."""
        ...

    def detokenize(self, codes: Codes) -> Images:
        """The images of codes."""
        ...


@runtime_checkable
class LikelihoodModel(Protocol):
    """A latent-variable model p(x, z) with an approximate posterior q(z | x), whose weights estimate log p(x)."""

    likelihood: str
    """What p(x | z) is: ``bernoulli`` on pixels in [0, 1], or ``gaussian``, a density of pixels in [-1, 1]."""

    def log_weights(
        self, images: Images, num: int, *, labels: Labels | None = None, generator: Randomness = None
    ) -> LogWeights:
        """Log w = log p(x | z) + log p(z) - log q(z | x) in nats for ``num`` samples z ~ q(z | x) of each image.

        Image i's samples depend on the i-th generator alone, where there are several. A conditional model needs the
        classes, and all is conditional on them. No graph is recorded.
        """
        ...


@runtime_checkable
class DensityModel(Protocol):
    """Finds log p(x) of an image, or a lower bound of it, without latents: a flow, or a diffusion model."""

    density: bool
    """Whether p is a density of real numbers, for which stored images have to be dequantised, or else the probability
    of their 256 levels."""

    def log_prob_by(self, num: int | None) -> str:
        """How ``log_prob`` goes about it with so many random numbers, in a few words for a score card."""
        ...

    def log_prob(
        self, images: Images, num: int | None = None, *, labels: Labels | None = None, generator: Randomness = None
    ) -> Float[Tensor, " batch"]:
        """Log p of images in [-1, 1], in nats; with ``num`` of what is drawn for each, at least 1, the usual if None.

        Image i's number depends on the i-th generator alone, where there are several. A conditional model needs the
        classes, and all is conditional on them. No graph is recorded.
        """
        ...


@runtime_checkable
class Translator(Protocol):
    """Maps images of one domain to another."""

    def translate(self, images: Images) -> Images:
        """Translate images."""
        ...


@runtime_checkable
class ImageSet(Protocol):
    """A fixed, ordered set of stored images: one split of a dataset, decoded."""

    name: str
    """Dataset and split, e.g. ``mnist/train``."""
    key: str
    """Hash of the images' content and size: two sets with one key are the same images."""
    labels: npt.NDArray[np.int64] | None
    """Class of each image, or None where the source has none."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, index: slice | npt.NDArray[np.int64]) -> StoredImages:
        """Gather images as uint8 ``(k, channels, height, width)`` on the CPU."""
        ...


@runtime_checkable
class StackedSet(ImageSet, Protocol):
    """An image set each of whose images is several labelled images of another set, one after the other in its channels.

    Its classes are the tuples of theirs, numbered in lexical order.
    """

    @property
    def parts(self) -> ImageSet:
        """The set whose images are stacked."""
        ...

    @property
    def stacked(self) -> int:
        """How many of them make an image."""
        ...


@runtime_checkable
class ImageSource(Protocol):
    """What offers image sets by split; the data module does."""

    def image_set(self, split: str) -> ImageSet:
        """The images of ``train``, ``val`` or ``test``."""
        ...


@runtime_checkable
class MediaLogger(Protocol):
    """A logger that takes pictures besides numbers."""

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log images under a key."""
        ...


@runtime_checkable
class CardLogger(Protocol):
    """A logger that takes score cards besides numbers."""

    def log_score_card(self, card: Mapping[str, Any], key: str = "score_card") -> None:
        """Log a score card, its numbers under ``scores``, under a key."""
        ...


@runtime_checkable
class AlertLogger(Protocol):
    """A logger that takes a line of text for whoever watches a run."""

    def log_alert(self, title: str, text: str) -> None:
        """Log a line under a title."""
        ...


@runtime_checkable
class TwoPlayers(Protocol):
    """A model in training whose generators and discriminators step in turn."""

    images_seen: int
    batches_seen: int
    last_terms: Mapping[str, Tensor]
    """The newest value of each loss term, without its graph: ``discriminator``, ``generator``, and, as means over the
    images and before any sigmoid, ``real_logit`` and ``fake_logit``."""

    def generators(self) -> Sequence[nn.Module]:
        """The networks that the first optimizer trains."""
        ...

    def discriminators(self) -> Sequence[nn.Module]:
        """The networks that the second optimizer trains."""
        ...
