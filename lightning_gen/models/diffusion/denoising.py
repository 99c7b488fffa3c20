"""Training and sampling of denoisers: the shared base class of diffusion models, flows and consistency models.

    x_t = alpha_t x_0 + sigma_t e,    D(x_t; t, y) estimates x_0

A model defines its noise process, its :class:`Denoiser` and its training loss; samplers generate images from D. A
class-conditional model drops the class of a fraction of the training images, so that the same network is also the
unconditional model that guidance needs (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598).
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch.nn import functional as F
from torch.optim import Adam

from lightning_gen.checks import check_fraction
from lightning_gen.diffusion.denoiser import Denoiser
from lightning_gen.diffusion.guidance import ALL_LEVELS, check_guidance, clipped, guided
from lightning_gen.diffusion.preconditioning import Preconditioning
from lightning_gen.diffusion.processes import Denoise, Process
from lightning_gen.diffusion.samplers import SAMPLERS, DrawNoise, Sampler, make_sampler, make_timestep, option_names
from lightning_gen.errors import InputError
from lightning_gen.models.base import DescentModule
from lightning_gen.models.latents import check_labels, check_num_classes
from lightning_gen.networks.backbones import BackboneKind, make_backbone
from lightning_gen.noise import integers, randn
from lightning_gen.types import Batch, Classes, Images, ImageShape, Labels, Latents, RandomSource, SamplingOptions

SAMPLING_BATCH = 256
"""Maximum number of images that are generated at once, which bounds the memory."""
FINE_STEPS = 1000
"""Number of time steps that resolve a continuous process."""


class DenoisingModule(DescentModule[Denoiser]):
    """Base class of models with a denoiser. A model sets ``process`` and, with :meth:`make_network`, its network.

    Args:
        image_shape: (channels, height, width).
        num_classes: number of classes of the data; the command line takes it from there.
        conditional: whether to condition on the class.
        label_dropout: fraction of the training images whose class is dropped, in [0, 1).
        network: ``unet`` or ``dit``.
        width: number of channels of the UNet next to the image, or of features of the DiT's tokens.
        multipliers: multipliers of the UNet's width, one per resolution, from the image's resolution down.
        blocks: number of residual blocks of the UNet per resolution.
        attention: sides of the UNet's feature maps with self-attention.
        dropout: dropout of the UNet's blocks, in [0, 1).
        depth: number of blocks of the DiT.
        heads: number of attention heads of the DiT.
        patch: side of the DiT's patches.
        lr: Adam's learning rate.
        **kwargs: see :class:`GenerativeModule`.

    Attributes:
        supports_guidance: whether guidance scales other than 0 and 1 are defined.
        spacings: names of the spacings of time steps.
        default_sampling: options of sampling where nothing else is requested.
        process: the noise process.
        architecture: arguments of the backbone.
        progress_callback: called after each step with the number of images that the step amounts to.
    """

    supports_guidance: ClassVar[bool] = True
    spacings: ClassVar[tuple[str, ...]]
    default_sampling: SamplingOptions
    process: Process

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int = 0,
        conditional: bool = False,
        label_dropout: float = 0.1,
        network: BackboneKind = "unet",
        width: int = 64,
        multipliers: tuple[int, ...] = (1, 2, 2),
        blocks: int = 2,
        attention: tuple[int, ...] = (8,),
        dropout: float = 0.0,
        depth: int = 6,
        heads: int = 4,
        patch: int = 2,
        lr: float = 2e-4,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_fraction(label_dropout=label_dropout)
        self.num_classes = check_num_classes(type(self), num_classes) if conditional else 0
        self.label_dropout, self.dropout, self.lr = label_dropout, dropout, lr
        self.architecture: dict[str, Any] = {
            "kind": network,
            "image_shape": self.image_shape,
            "num_classes": self.num_classes,
            "width": width,
            "multipliers": tuple(multipliers),
            "blocks": blocks,
            "attention": tuple(attention),
            "depth": depth,
            "heads": heads,
            "patch": patch,
        }
        self.progress_callback: Callable[[float], None] | None = None
        self._sampling: SamplingOptions | None = None

    def make_network(self, preconditioning: Preconditioning) -> Denoiser:
        """Build the backbone, and the denoiser with the given preconditioning."""
        return Denoiser(make_backbone(**self.architecture, dropout=self.dropout), preconditioning)

    @abstractmethod
    def spaced_times(self, steps: int, spacing: Any) -> list[float]:
        """Times of the process with one of ``spacings``.

        Args:
            steps: number of steps.
            spacing: the spacing.

        Returns:
            steps + 1 decreasing times, from noise to image.

        Raises:
            InputError: if the number of steps is out of range.
        """

    # ---- training

    def configure_optimizers(self) -> Any:
        """Adam."""
        return self.with_lr_schedule(Adam(self.network.parameters(), self.lr))

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

    # ---- options of sampling

    @property
    def samplers(self) -> tuple[str, ...]:
        """Names of the samplers that the model supports."""
        return tuple(name for name, sampler in SAMPLERS.items() if sampler.supports(self.process))

    @property
    def sampling(self) -> SamplingOptions:
        """The options of sampling. Assignment resolves and validates them (:meth:`resolve`)."""
        if self._sampling is None:
            self._sampling = self.resolve(SamplingOptions())
        return self._sampling

    @sampling.setter
    def sampling(self, options: SamplingOptions) -> None:
        self._sampling = self.resolve(options)

    def resolve(self, options: SamplingOptions) -> SamplingOptions:
        """Replace options of None by the model's defaults.

        Args:
            options: the requested options.

        Returns:
            The complete options.

        Raises:
            InputError: if the model does not support an option.
        """
        name = type(self).__name__
        requested = {key: value for key, value in vars(options).items() if value is not None}
        resolved = replace(self.default_sampling, **requested)
        assert resolved.sampler is not None
        if resolved.sampler not in self.samplers:
            raise InputError(
                f"the sampler {resolved.sampler} does not support {name}; those that do are {', '.join(self.samplers)}"
            )
        if resolved.spacing not in self.spacings:
            raise InputError(f"{name} has no spacing {resolved.spacing}; it has {', '.join(self.spacings)}")
        if not SAMPLERS[resolved.sampler].fixed_timesteps:
            if {"steps", "spacing"} & requested.keys():
                raise InputError(f"the sampler {resolved.sampler} chooses its own steps; leave out steps and spacing")
            resolved = replace(resolved, steps=None, spacing=None)
        self.timesteps(resolved)
        make_solver(resolved)
        check_guidance(name, resolved, requested, bool(self.num_classes), self.label_dropout, self.supports_guidance)
        return resolved

    def timesteps(self, options: SamplingOptions) -> list[float]:
        """The times of resolved options; for an adaptive sampler the first, the lowest with noise, and the last."""
        if options.steps is None or options.spacing is None:
            first, *_, lowest, last = self.all_timesteps()
            return [first, lowest, last]
        return self.spaced_times(options.steps, options.spacing)

    def all_timesteps(self) -> list[float]:
        """Times that resolve the process, from noise to image."""
        assert self.default_sampling.spacing is not None
        return self.spaced_times(FINE_STEPS, self.default_sampling.spacing)

    # ---- sampling

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

    @contextmanager
    def sampler(self, classes: Classes | None, draw_noise: DrawNoise) -> Iterator[Sampler]:
        """The sampler of ``sampling``, bound to the inference network, with guidance and clipping.

        Args:
            classes: class rows, for a conditional model.
            draw_noise: source of fresh noise.

        Yields:
            A sampler for one batch; no gradient is recorded.
        """
        options = self.sampling
        with self.inference_network() as denoiser:
            denoise: Denoise = denoiser
            if classes is not None:
                assert options.guidance is not None
                interval = options.guidance_interval or ALL_LEVELS
                denoise = guided(denoiser, self.process, classes, options.guidance, interval)
            if options.clip:
                denoise = clipped(denoise)
            yield make_solver(options).bind(self.process, denoise, draw_noise)

    def generate_from_noise(self, noise: Images, classes: Classes | None, draw_noise: DrawNoise) -> Images:
        """Generate images in [-1, 1] from standard normal noise.

        Args:
            noise: the initial noise.
            classes: class rows, for a conditional model.
            draw_noise: source of fresh noise.

        Returns:
            The images.
        """
        times = self.timesteps(self.sampling)
        images = noise * make_timestep(self.process, times[0]).sigma
        with self.sampler(classes, draw_noise) as sampler:
            for after in sampler.walk(images, times):
                images = after
                if self.progress_callback is not None:
                    self.progress_callback(len(noise) / (len(times) - 1))
        return images.clamp(-1, 1)


def make_solver(options: SamplingOptions) -> Sampler:
    """Make the sampler of resolved options, with the options that are its own."""
    assert options.sampler is not None
    own = {name: getattr(options, name) for name in ("eta", "churn")}
    if "steps" in option_names(SAMPLERS[options.sampler]):
        own["steps"] = options.steps
    return make_sampler(options.sampler, **own)
