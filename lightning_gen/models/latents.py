"""Sampling by decoding latents from a known prior: standard normal noise, with a class behind it or not."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from lightning_gen.errors import InputError
from lightning_gen.noise import integers, randn
from lightning_gen.types import Batch, Images, Labels, Latents, Randomness


class LatentPrior(ABC):
    """Sampling by decoding latents that are drawn from a prior."""

    @abstractmethod
    def decode(self, latents: Latents) -> Images:
        """Images of latents."""

    @abstractmethod
    def sample_latents(self, num: int, *, generator: Randomness = None) -> Latents:
        """Draw latents from the prior."""

    def sample(self, num: int, *, labels: Labels | None = None, generator: Randomness = None) -> Images:
        """Decode latents from the prior.

        Args:
            num: how many.
            labels: must be None: the model is not conditional.
            generator: where the noise comes from; image i is a function of the i-th alone, where there are several.

        Returns:
            Images in [-1, 1].

        Raises:
            InputError: when labels are given.
        """
        if labels is not None:
            raise InputError(f"{type(self).__name__} is not conditional and cannot draw an asked class")
        return self.decode(self.sample_latents(num, generator=generator))


class GaussianLatents(LatentPrior):
    """Standard normal latents (batch, latent_dim); for models with ``latent_dim``, ``device`` and ``decode``."""

    latent_dim: int
    device: torch.device

    def latents_like(self, batch: Batch) -> Latents:
        """Draw the latents of a training batch from torch's global generator."""
        return randn(len(batch.images), self.latent_dim, device=self.device)

    def sample_latents(self, num: int, *, generator: Randomness = None) -> Latents:
        """Draw standard normal latents (num, latent_dim)."""
        return randn(num, self.latent_dim, generator=generator, device=self.device)


class ClassLatents(GaussianLatents):
    """Latents with a class: (num, latent_dim + num_classes), normal noise followed by the class as a one-hot vector.

    Whatever walks between two latents so walks between their classes too.
    """

    num_classes: int

    def latents_like(self, batch: Batch) -> Latents:
        """Draw the latents of a training batch, which has its images' classes."""
        if batch.labels is None:
            raise InputError(f"{type(self).__name__} learns from labels, and the batch has none")
        return self.latents_of(batch.labels)

    def latents_of(self, labels: Labels, generator: Randomness = None) -> Latents:
        """Draw noise for images of these classes.

        Args:
            labels: classes (num), each in [0, num_classes).
            generator: where the noise comes from.

        Returns:
            The latents.
        """
        noise = randn(len(labels), self.latent_dim, generator=generator, device=self.device)
        classes = nn.functional.one_hot(labels.to(self.device), self.num_classes)
        return torch.cat([noise, classes.to(noise.dtype)], 1)

    def sample_latents(self, num: int, *, generator: Randomness = None) -> Latents:
        """Draw latents of classes that are drawn evenly."""
        return self.latents_of(integers(num, self.num_classes, generator=generator, device=self.device), generator)

    def sample(self, num: int, *, labels: Labels | None = None, generator: Randomness = None) -> Images:
        """Draw images of asked classes.

        Args:
            num: how many.
            labels: the class of each image; drawn evenly when None.
            generator: where the noise comes from.

        Returns:
            Images in [-1, 1].

        Raises:
            InputError: when there are not as many labels as images, or one is no class of the data.
        """
        if labels is None:
            return self.decode(self.sample_latents(num, generator=generator))
        check_labels(labels, num, self.num_classes)
        return self.decode(self.latents_of(labels, generator))


def classes_of(model: type, num_classes: int) -> int:
    """Check that a conditional model has classes.

    Args:
        model: its class.
        num_classes: how many the data has.

    Returns:
        The number.

    Raises:
        InputError: when the data has no labels.
    """
    if num_classes < 1:
        raise InputError(
            f"{model.__name__} learns from class labels, and the data has none; "
            "take labelled data (class sub-folders) or an unconditional model"
        )
    return num_classes


def check_labels(labels: Labels, num: int, num_classes: int) -> None:
    """Check the classes that are asked for.

    Args:
        labels: the class of each image.
        num: how many images.
        num_classes: how many classes there are.

    Raises:
        InputError: when there are not as many labels as images, or one is no class of the data.
    """
    if len(labels) != num:
        raise InputError(f"{len(labels)} labels for {num} images")
    if num and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise InputError(f"labels {labels.min()} to {labels.max()}: the classes are 0 to {num_classes - 1}")
