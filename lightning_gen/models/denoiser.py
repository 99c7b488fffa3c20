"""What models share that draw step by step: a denoiser, trained at one noise level at a time.

    x_t = alpha_t x_0 + sigma_t e,    D(x_t; t, y), an image

A model names its process, its training loss and D as a function of its network's output; from D samplers draw.
A class-conditional model sees no class in a share of the training images, so that the same network is the unconditional
model that guidance needs (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598).
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from lightning_gen.diffusion.choice import SAMPLERS, make_sampler, options_of
from lightning_gen.diffusion.guidance import guided
from lightning_gen.diffusion.processes import Denoise, Process, Times
from lightning_gen.diffusion.samplers import Draw, Sampler, point_of
from lightning_gen.errors import InputError
from lightning_gen.models.base import DescentModule
from lightning_gen.models.latents import check_labels, classes_of
from lightning_gen.networks.denoisers import DenoiserKind, make_denoiser
from lightning_gen.noise import integers, randn
from lightning_gen.types import Batch, Classes, Images, ImageShape, Labels, Latents, Randomness, Sampling

CHUNK = 256
"""Images that are drawn at once, so that memory does not grow with their number."""
EVERYWHERE = (0.0, math.inf)
"""The noise levels at which guidance acts where nothing is said."""
FINEST = 1000
"""An adaptive sampler leaves the flow where the last of so many steps would begin."""


class DenoiserModule(DescentModule):
    """Base of models that denoise.

    Args:
        image_shape: (channels, height, width).
        num_classes: classes of the data; the command line takes it from there.
        conditional: whether the class is a condition.
        label_dropout: share of the training images whose class a conditional model does not see, in [0, 1).
        network: ``unet`` or ``dit``.
        width: channels of the UNet next to the image, features of the DiT's tokens.
        multipliers: of the UNet's width, one for each resolution from the image's down.
        blocks: residual blocks of the UNet at each resolution.
        attention: sides of the UNet's maps at which there is attention.
        dropout: of the UNet's blocks, in [0, 1).
        depth: blocks of the DiT.
        heads: of the DiT's attention.
        patch: side of the DiT's patches.
        lr: Adam's learning rate.
        **kwargs: see :class:`GenerativeModule`.

    Attributes:
        samplers: those that can draw from the model.
        spacings: ways in which its steps can lie.
        usual: what drawing does where nothing else is asked for.
        process: the noise process.
        architecture: what the network is built of.
        drawn: told after each step how many images' worth of work it was.
    """

    samplers: ClassVar[tuple[str, ...]]
    spacings: ClassVar[tuple[str, ...]]
    usual: Sampling
    process: Process

    @abstractmethod  # a model saves its own hyper-parameters
    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int = 0,
        conditional: bool = False,
        label_dropout: float = 0.1,
        network: DenoiserKind = "unet",
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
        if not 0 <= label_dropout < 1:
            raise InputError(f"model.label_dropout is {label_dropout}; it must be at least 0 and below 1")
        self.num_classes = classes_of(type(self), num_classes) if conditional else 0
        self.label_dropout, self.lr = label_dropout, lr
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
        self.network = make_denoiser(**self.architecture, dropout=dropout)
        self.drawn: Callable[[float], None] | None = None
        self.sampling = Sampling()
        self.follow()

    # ---- what a model supplies

    @abstractmethod
    def denoise(self, network: nn.Module, noisy: Images, times: Times, classes: Classes | None) -> Images:
        """D: the clean images that a network takes noisy ones for.

        Args:
            network: the trained one or its average.
            noisy: x_t.
            times: of the process, one for each image.
            classes: rows of the classes, of a conditional model.

        Returns:
            What they are taken for, float32.
        """

    @abstractmethod
    def times(self, steps: int, spacing: Any) -> list[float]:
        """Times to visit.

        Args:
            steps: how many steps.
            spacing: one of ``spacings``.

        Returns:
            steps + 1 times of the process, from noise to image.

        Raises:
            InputError: when there cannot be so many.
        """

    # ---- training

    def producer(self) -> nn.Module:
        """The network."""
        return self.network

    def configure_optimizers(self) -> Any:
        """Adam."""
        return self.scheduled(Adam(self.network.parameters(), self.lr))

    def classes_of_batch(self, batch: Batch) -> Classes | None:
        """The classes of a training batch, some of them dropped; all are shown in validation.

        Args:
            batch: the batch.

        Returns:
            Rows of classes, or None for an unconditional model.

        Raises:
            InputError: when there are no labels.
        """
        if not self.num_classes:
            return None
        if batch.labels is None:
            raise InputError(f"{type(self).__name__} learns from labels, and the batch has none")
        classes = F.one_hot(batch.labels, self.num_classes).float()
        if not self.training:
            return classes
        return classes * (torch.rand(len(classes), 1, device=classes.device) >= self.label_dropout)

    # ---- how images are drawn

    @property
    def sampling(self) -> Sampling:
        """How images are drawn; whatever is not given when it is set is the model's own choice."""
        return self._sampling

    @sampling.setter
    def sampling(self, asked: Sampling) -> None:
        self._sampling = self.completed(asked)

    def completed(self, asked: Sampling) -> Sampling:
        """Fill in what is not asked for.

        Args:
            asked: what is.

        Returns:
            With every number that drawing needs.

        Raises:
            InputError: when the model cannot draw so.
        """
        name = type(self).__name__
        given = {key: value for key, value in vars(asked).items() if value is not None}
        usual = self.usual
        if given.get("sampler", usual.sampler) != usual.sampler:
            usual = replace(usual, eta=None, churn=None)  # they are the other sampler's
        sampling = replace(usual, **given)
        assert sampling.sampler is not None
        if sampling.sampler not in self.samplers:
            raise InputError(
                f"the sampler {sampling.sampler} cannot draw from {name}; those that can are {', '.join(self.samplers)}"
            )
        if sampling.spacing not in self.spacings:
            raise InputError(f"{name} knows no spacing {sampling.spacing}; it knows {', '.join(self.spacings)}")
        if not SAMPLERS[sampling.sampler].paced:
            if asked.steps is not None or asked.spacing is not None:
                raise InputError(f"the sampler {sampling.sampler} chooses its own steps; leave out steps and spacing")
            sampling = replace(sampling, steps=None, spacing=None)
        options_of(sampling)
        for option in ("churn", "guidance"):
            value = getattr(sampling, option)
            if value is not None and not 0 <= value < math.inf:
                raise InputError(f"{option} is {value}; it must be a number of at least 0")
        if sampling.eta is not None and not 0 <= sampling.eta <= 1:
            raise InputError(f"eta is {sampling.eta}; it lies from 0, no fresh noise, to 1")
        if not self.num_classes:
            for option in ("guidance", "guidance_interval"):
                if option in given:
                    raise InputError(f"{option} is given, and this {name} is unconditional: there are no classes")
        elif sampling.guidance != 1 and not self.label_dropout:
            raise InputError(
                f"guidance is {sampling.guidance}, and this {name} was trained with label_dropout 0: it knows no "
                "images without a class, which guidance leads away from"
            )
        least, most = sampling.guidance_interval or EVERYWHERE
        if not 0 <= least <= most:
            raise InputError(f"guidance_interval is {least:g} to {most:g}; it must not be negative, and not fall")
        if sampling.guidance == 1 and sampling.guidance_interval is not None:
            raise InputError("guidance_interval is given, and guidance is 1, which is none; set guidance, too")
        self.visited(sampling)
        return sampling

    def visited(self, sampling: Sampling) -> list[float]:
        """The times of a completed :class:`Sampling`; of an adaptive sampler, where it begins and ends."""
        if sampling.steps is None or sampling.spacing is None:
            first, *_, least, last = self.finest()
            return [first, least, last]
        return self.times(sampling.steps, sampling.spacing)

    def finest(self) -> list[float]:
        """Times of the process as close together as there is a use for, from noise to image."""
        assert self.usual.spacing is not None
        return self.times(FINEST, self.usual.spacing)

    def sample(self, num: int, *, labels: Labels | None = None, generator: Randomness = None) -> Images:
        """Draw images as ``sampling`` says.

        Args:
            num: how many.
            labels: the class of each image, for a conditional model; drawn evenly when None.
            generator: where the noise comes from; image i is a function of the i-th alone, where there are several.

        Returns:
            Images in [-1, 1].

        Raises:
            InputError: when labels are given and the model is unconditional, or they are no classes of the data.
        """
        if labels is not None and not self.num_classes:
            raise InputError(f"this {type(self).__name__} is not conditional and cannot draw an asked class")
        if labels is not None:
            check_labels(labels, num, self.num_classes)
        parts = []
        for start in range(0, num, CHUNK):
            size = min(CHUNK, num - start)
            own = generator[start : start + size] if isinstance(generator, list | tuple) else generator

            def draw(size: int = size, own: Randomness = own) -> Images:
                return randn(size, *self.image_shape, generator=own, device=self.device)

            classes = None
            if self.num_classes:
                chosen = integers(size, self.num_classes, generator=own, device=self.device)
                if labels is not None:
                    chosen = labels[start : start + size].to(self.device)
                classes = F.one_hot(chosen, self.num_classes).float()
            parts.append(self.develop(draw(), classes, draw))
        return torch.cat(parts) if parts else torch.empty(0, *self.image_shape, device=self.device)

    def sample_latents(self, num: int, *, generator: Randomness = None) -> Latents:
        """Draw noise (num, pixels [+ classes]): of each image as one vector, and in a conditional model its class."""
        labels = None
        if self.num_classes:  # before the noise, as in sample
            labels = integers(num, self.num_classes, generator=generator, device=self.device)
        noise = randn(num, math.prod(self.image_shape), generator=generator, device=self.device)
        if labels is None:
            return noise
        return torch.cat([noise, F.one_hot(labels, self.num_classes).to(noise.dtype)], 1)

    def decode(self, latents: Latents) -> Images:
        """The images that a deterministic sampler makes of noise.

        Args:
            latents: as :meth:`sample_latents` draws them.

        Returns:
            Images in [-1, 1].

        Raises:
            InputError: when ``sampling`` names a sampler that draws fresh noise.
        """
        pixels = math.prod(self.image_shape)
        parts = []
        for part in latents.split(CHUNK):
            noise, classes = part[:, :pixels].unflatten(1, self.image_shape), part[:, pixels:]
            parts.append(self.develop(noise, classes if self.num_classes else None, self.refused))
        return torch.cat(parts)

    def conditions(self, labels: Labels | None, num: int) -> Classes | None:
        """Rows of the classes of images that are there already.

        Args:
            labels: their classes; an unconditional model does not look at them.
            num: how many images.

        Returns:
            The rows, or None for an unconditional model.

        Raises:
            InputError: when a conditional model gets no classes, or one is no class of the data.
        """
        if not self.num_classes:
            return None
        if labels is None:
            raise InputError(f"this {type(self).__name__} is conditional and needs the images' classes")
        check_labels(labels, num, self.num_classes)
        return F.one_hot(labels.to(self.device), self.num_classes).float()

    def refused(self) -> Images:
        """Where a deterministic sampler's fresh noise comes from."""
        raise InputError(
            f"{self.sampling.sampler} draws fresh noise on the way, so that noise and image do not belong together; "
            "take a deterministic sampler, e.g. euler, or ddim with eta 0"
        )

    @contextmanager
    def drawing(self, classes: Classes | None, draw: Draw) -> Iterator[Sampler]:
        """The sampler that ``sampling`` names, to walk with or to ask for D, over the network that draws.

        Args:
            classes: rows of the classes, of a conditional model.
            draw: where fresh noise comes from.

        Yields:
            A sampler for one batch; no gradient is recorded while it is in use.
        """
        with self.producing() as network:
            yield make_sampler(self.sampling, self.process, self.denoiser(network, classes), draw)

    def develop(self, noise: Images, classes: Classes | None, draw: Draw) -> Images:
        """Make images out of noise.

        Args:
            noise: standard normal.
            classes: rows of the classes, of a conditional model.
            draw: where fresh noise comes from.

        Returns:
            Images in [-1, 1].
        """
        times = self.visited(self.sampling)
        images = noise * point_of(self.process, times[0]).sigma
        with self.drawing(classes, draw) as sampler:
            for after in sampler.walk(images, times):
                images = after
                if self.drawn is not None:
                    self.drawn(len(noise) / (len(times) - 1))
        return images.clamp(-1, 1)

    def denoiser(self, network: nn.Module, classes: Classes | None) -> Denoise:
        """D as ``sampling`` says: guided, and clipped.

        Args:
            network: the trained one or its average.
            classes: rows of the classes, of a conditional model.

        Returns:
            A function of noisy images and times.
        """
        sampling = self.sampling

        def conditional(noisy: Images, times: Tensor, classes: Classes | None) -> Images:
            return self.denoise(network, noisy, times, classes)

        def plain(noisy: Images, times: Tensor) -> Images:
            return conditional(noisy, times, None)

        def clipped(noisy: Images, times: Tensor) -> Images:
            return found(noisy, times).clamp(-1, 1)

        found: Denoise = plain
        if classes is not None:
            assert sampling.guidance is not None
            interval = sampling.guidance_interval or EVERYWHERE
            found = guided(conditional, self.process, classes, sampling.guidance, interval)
        return clipped if sampling.clip else found
