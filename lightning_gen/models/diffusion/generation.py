"""Generating images with a denoiser, with or without a condition on the class.

A class-conditional model drops the class of a fraction of the training images, so that the same network is also the
unconditional model that guidance needs (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598).
"""

import math
from typing import Any

import torch
from torch.nn import functional as F

from lightning_gen.checks import check_fraction
from lightning_gen.diffusion.denoiser import Denoiser
from lightning_gen.diffusion.guidance import ALL_LEVELS, guided
from lightning_gen.diffusion.processes import Denoise, Times
from lightning_gen.errors import InputError
from lightning_gen.models.diffusion.denoising import SAMPLING_BATCH, DenoisingModule
from lightning_gen.models.latents import check_labels, check_num_classes
from lightning_gen.noise import integers, randn
from lightning_gen.types import Batch, Classes, DenoiserCondition, Images, Labels, Latents, RandomSource


class DenoisingGenerator(DenoisingModule):
    """Base class of models that generate images from noise, of any or of a requested class.

    Args:
        num_classes: number of classes of the data; the command line takes it from there.
        conditional: whether to condition on the class.
        label_dropout: fraction of the training images whose class is dropped, in [0, 1).
        **kwargs: see :class:`DenoisingModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if a value is out of range.
    """

    def __init__(
        self, num_classes: int = 0, conditional: bool = False, label_dropout: float = 0.1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_fraction(label_dropout=label_dropout)
        self.num_classes = check_num_classes(type(self), num_classes) if conditional else 0
        self.label_dropout = label_dropout
        self.architecture["num_classes"] = self.num_classes

    # ---- training

    def training_condition(self, batch: Batch) -> Classes | None:
        """See :meth:`training_classes`."""
        return self.training_classes(batch)

    def training_classes(self, batch: Batch) -> Classes | None:
        """Class rows of a batch, with ``label_dropout`` in training mode; None for an unconditional model."""
        if not self.num_classes:
            return None
        if batch.labels is None:
            raise InputError(f"{type(self).__name__} learns from labels, and the batch has none")
        classes = F.one_hot(batch.labels, self.num_classes).float()
        if not self.training:
            return classes
        return classes * (torch.rand(len(classes), 1, device=classes.device) >= self.label_dropout)

    # ---- sampling

    def forward(self, noisy: Images, times: Times | float, labels: Labels | None = None) -> Images:
        """D(x_t; t, y), the estimate of the clean images, without gradients.

        Args:
            noisy: noisy images x_t.
            times: time of the noise process of each image, or one for all.
            labels: the class y of each image; a conditional model requires them, others ignore them.

        Returns:
            The estimates in float32.
        """
        times = torch.as_tensor(times, dtype=torch.float32, device=noisy.device).expand(len(noisy))
        with self.inference_network() as denoiser:
            return denoiser(noisy, times, self.class_rows(labels, len(noisy)))

    def sample(self, num: int, *, labels: Labels | None = None, generator: RandomSource = None) -> Images:
        """Generate images with the options in ``sampling``.

        Args:
            num: number of images.
            labels: the class of each image, for a conditional model; uniformly distributed if None.
            generator: source of the noise; with several generators, image i depends on the i-th alone.

        Returns:
            Images in [-1, 1].

        Raises:
            InputError: if labels are given to an unconditional model, or a label is out of range.
        """
        if labels is not None and not self.num_classes:
            raise InputError(f"this {type(self).__name__} is not conditional and cannot generate a requested class")
        if labels is not None:
            check_labels(labels, num, self.num_classes)
        parts = []
        for start in range(0, num, SAMPLING_BATCH):
            size = min(SAMPLING_BATCH, num - start)
            source = generator[start : start + size] if isinstance(generator, list | tuple) else generator

            def draw_noise(size: int = size, source: RandomSource = source) -> Images:
                return randn(size, *self.image_shape, generator=source, device=self.device)

            classes = None
            if self.num_classes:
                chosen = integers(size, self.num_classes, generator=source, device=self.device)
                if labels is not None:
                    chosen = labels[start : start + size].to(self.device)
                classes = F.one_hot(chosen, self.num_classes).float()
            parts.append(self.generate_from_noise(draw_noise(), classes, draw_noise))
        return torch.cat(parts) if parts else torch.empty(0, *self.image_shape, device=self.device)

    def sample_latents(self, num: int, *, generator: RandomSource = None) -> Latents:
        """Noise (num, pixels), followed by the class rows if the model is conditional."""
        labels = None
        if self.num_classes:  # before the noise, as in sample
            labels = integers(num, self.num_classes, generator=generator, device=self.device)
        noise = randn(num, math.prod(self.image_shape), generator=generator, device=self.device)
        if labels is None:
            return noise
        return torch.cat([noise, F.one_hot(labels, self.num_classes).to(noise.dtype)], 1)

    def decode(self, latents: Latents) -> Images:
        """Generate images from noise with a deterministic sampler.

        Args:
            latents: latents as returned by :meth:`sample_latents`.

        Returns:
            Images in [-1, 1].

        Raises:
            InputError: if the sampler is stochastic.
        """
        pixels = math.prod(self.image_shape)
        parts = []
        for part in latents.split(SAMPLING_BATCH):
            noise, classes = part[:, :pixels].unflatten(1, self.image_shape), part[:, pixels:]
            parts.append(self.generate_from_noise(noise, classes if self.num_classes else None, self.reject_noise))
        return torch.cat(parts)

    def class_rows(self, labels: Labels | None, num: int) -> Classes | None:
        """One-hot rows of the labels of existing images.

        Args:
            labels: the class of each image; an unconditional model ignores them.
            num: number of images.

        Returns:
            The rows; None for an unconditional model.

        Raises:
            InputError: if a conditional model gets no labels, or a label is out of range.
        """
        if not self.num_classes:
            return None
        if labels is None:
            raise InputError(f"this {type(self).__name__} is conditional and needs the images' classes")
        check_labels(labels, num, self.num_classes)
        return F.one_hot(labels.to(self.device), self.num_classes).float()

    def reject_noise(self) -> Images:
        """The noise source where a deterministic sampler is required; raises ``InputError``."""
        raise InputError(
            f"{self.sampling.sampler} draws fresh noise in its steps, so an image is no function of its initial noise; "
            "use a deterministic sampler, e.g. euler, or ddim with eta 0"
        )

    def bind_condition(self, denoiser: Denoiser, condition: DenoiserCondition) -> Denoise:
        """D as a function of noisy images and times alone, with the guidance of ``sampling``."""
        if condition is None:
            return super().bind_condition(denoiser, condition)
        options = self.sampling
        assert options.guidance is not None
        return guided(denoiser, self.process, condition, options.guidance, options.guidance_interval or ALL_LEVELS)
