"""Sampling by decoding latents of a prior: normal noise, alone or with a class."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.errors import InputError
from lightning_gen.noise import integers, randn
from lightning_gen.types import Batch, Images, Labels, Latents, RandomSource


class LatentSampling:
    """Mixin: samples are decoded standard normal latents (num, latent_dim). A model defines ``decode``."""

    latent_dim: int
    device: torch.device

    @abstractmethod
    def decode(self, latents: Latents) -> Images:
        """Images of latents."""

    def latents_for(self, batch: Batch) -> Latents:
        """Sample the latents of a training batch with torch's global generator."""
        return randn(len(batch.images), self.latent_dim, device=self.device)

    def sample_latents(self, num: int, *, generator: RandomSource = None) -> Latents:
        """Sample latents from the prior."""
        return randn(num, self.latent_dim, generator=generator, device=self.device)

    def sample(self, num: int, *, labels: Labels | None = None, generator: RandomSource = None) -> Images:
        """Generate images.

        Args:
            num: number of images.
            labels: must be None, because the model is unconditional.
            generator: source of the noise; with several generators, image i depends on the i-th alone.

        Returns:
            Images in [-1, 1].

        Raises:
            InputError: if labels are given.
        """
        if labels is not None:
            raise InputError(f"{type(self).__name__} is not conditional and cannot generate a requested class")
        return self.decode_sampled(self.sample_latents(num, generator=generator), generator)

    def decode_sampled(self, latents: Latents, generator: RandomSource) -> Images:
        """Images of sampled latents; a generator with noise of its own draws it here, after the latents."""
        return self.decode(latents)


class ConditionalLatentSampling(LatentSampling):
    """Mixin: latents (num, latent_dim + num_classes) are normal noise followed by the class as a one-hot vector.

    Interpolation between two latents therefore interpolates between their classes too.
    """

    num_classes: int

    def latents_for(self, batch: Batch) -> Latents:
        """Sample the latents of a training batch, with the classes of its images."""
        if batch.labels is None:
            raise InputError(f"{type(self).__name__} learns from labels, and the batch has none")
        return self.latents_of(batch.labels)

    def latents_of(self, labels: Labels, generator: RandomSource = None) -> Latents:
        """Sample latents of the given classes, each in [0, num_classes)."""
        noise = randn(len(labels), self.latent_dim, generator=generator, device=self.device)
        classes = nn.functional.one_hot(labels.to(self.device), self.num_classes)
        return torch.cat([noise, classes.to(noise.dtype)], 1)

    def sample_latents(self, num: int, *, generator: RandomSource = None) -> Latents:
        """Sample latents of uniformly distributed classes."""
        return self.latents_of(integers(num, self.num_classes, generator=generator, device=self.device), generator)

    def sample(self, num: int, *, labels: Labels | None = None, generator: RandomSource = None) -> Images:
        """Generate images of the requested classes.

        Args:
            num: number of images.
            labels: the class of each image; uniformly distributed if None.
            generator: source of the noise; with several generators, image i depends on the i-th alone.

        Returns:
            Images in [-1, 1].

        Raises:
            InputError: if the number of labels is not ``num``, or a label is out of range.
        """
        if labels is None:
            return self.decode_sampled(self.sample_latents(num, generator=generator), generator)
        check_labels(labels, num, self.num_classes)
        return self.decode_sampled(self.latents_of(labels, generator), generator)


class OptionalClassSampling(ConditionalLatentSampling):
    """Mixin: conditional if ``num_classes`` is not 0, otherwise as :class:`LatentSampling`."""

    def latents_for(self, batch: Batch) -> Latents:
        """Sample the latents of a training batch."""
        return self._sampling.latents_for(self, batch)

    def sample_latents(self, num: int, *, generator: RandomSource = None) -> Latents:
        """Sample latents from the prior."""
        return self._sampling.sample_latents(self, num, generator=generator)

    def sample(self, num: int, *, labels: Labels | None = None, generator: RandomSource = None) -> Images:
        """Generate images, of the requested classes if the model is conditional."""
        return self._sampling.sample(self, num, labels=labels, generator=generator)

    @property
    def _sampling(self) -> type[LatentSampling]:
        return ConditionalLatentSampling if self.num_classes else LatentSampling


def check_num_classes(model: type, num_classes: int) -> int:
    """Check that the data of a conditional model has labels.

    Args:
        model: the model's class, for the message.
        num_classes: number of classes of the data.

    Returns:
        ``num_classes``.

    Raises:
        InputError: if it is 0.
    """
    if num_classes < 1:
        raise InputError(
            f"{model.__name__} learns from class labels, and the data has none; "
            "take labelled data (class sub-folders) or an unconditional model"
        )
    return num_classes


def check_labels(labels: Labels, num: int, num_classes: int) -> None:
    """Check requested labels.

    Args:
        labels: the class of each image.
        num: number of images.
        num_classes: number of classes.

    Raises:
        InputError: if the number of labels is not ``num``, or a label is not in [0, num_classes).
    """
    if len(labels) != num:
        raise InputError(f"{len(labels)} labels for {num} images")
    if num and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise InputError(f"labels {labels.min()} to {labels.max()}: the classes are 0 to {num_classes - 1}")


def join_classes(
    model: str, latents: Latents, labels: Labels | None, latent_dim: int, num_classes: int
) -> Float[Tensor, "batch inputs"]:
    """Latents followed by their classes as one-hot vectors, which a conditional generator takes.

    Args:
        model: name of the model, for the messages.
        latents: (batch, latent_dim), or with one-hot vectors behind them already.
        labels: the class of each latent; None for an unconditional model, or where the latents have them.
        latent_dim: number of dimensions of a latent.
        num_classes: number of classes; 0 for an unconditional model.

    Returns:
        (batch, latent_dim + num_classes).

    Raises:
        InputError: if the latents have another shape, or labels are missing, superfluous or out of range.
    """
    has_classes = num_classes > 0 and latents.shape[1:] == (latent_dim + num_classes,)
    if not has_classes and latents.shape[1:] != (latent_dim,):
        raise InputError(f"the latents have the shape {tuple(latents.shape)}; {model} takes (batch, {latent_dim})")
    if labels is None:
        if num_classes and not has_classes:
            raise InputError(f"{model} is conditional; give the class of each latent, from 0 to {num_classes - 1}")
        return latents
    if not num_classes:
        raise InputError(f"{model} is not conditional and cannot generate a requested class")
    if has_classes:
        raise InputError("the latents end in their classes; leave out the labels")
    check_labels(labels, len(latents), num_classes)
    classes = nn.functional.one_hot(labels.to(latents.device), num_classes)
    return torch.cat([latents, classes.to(latents.dtype)], 1)
