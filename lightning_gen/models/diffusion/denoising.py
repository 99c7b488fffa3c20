"""Training and sampling of denoisers: the shared base class of diffusion models, flows and consistency models.

    x_t = alpha_t x_0 + sigma_t e,    D(x_t; t, y) estimates x_0

A model defines its noise process, its :class:`Denoiser`, its training loss and its condition y, which may be a class,
an image or nothing; samplers generate images from D.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

from lightning_gen.diffusion.denoiser import Denoiser
from lightning_gen.diffusion.guidance import check_guidance, clipped
from lightning_gen.diffusion.preconditioning import Preconditioning
from lightning_gen.diffusion.processes import Denoise, Process
from lightning_gen.diffusion.samplers import SAMPLERS, DrawNoise, Sampler, make_sampler, make_timestep, option_names
from lightning_gen.errors import InputError
from lightning_gen.models.base import DescentModule
from lightning_gen.networks.backbones import BackboneKind, make_backbone
from lightning_gen.types import Batch, DenoiserCondition, Images, ImageShape, SamplingOptions

SAMPLING_BATCH = 256
"""Maximum number of images that are generated at once, which bounds the memory."""
FINE_STEPS = 1000
"""Number of time steps that resolve a continuous process."""


class DenoisingModule(DescentModule[Denoiser]):
    """Base class of models with a denoiser. A model sets ``process`` and, with :meth:`make_network`, its network.

    Args:
        image_shape: (channels, height, width).
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
        label_dropout: fraction of the training images without a class, which guidance requires to be above 0.
        spacings: names of the spacings of time steps.
        default_sampling: options of sampling where nothing else is requested.
        process: the noise process.
        architecture: arguments of the backbone.
        progress_callback: called after each step with the number of images that the step amounts to.
    """

    supports_guidance: ClassVar[bool] = True
    label_dropout: float = 0.0
    spacings: ClassVar[tuple[str, ...]]
    default_sampling: SamplingOptions
    process: Process

    def __init__(
        self,
        image_shape: ImageShape,
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
        self.dropout, self.lr = dropout, lr
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
        return self.with_lr_schedule(self.adam(self.network.parameters(), self.lr))

    @abstractmethod
    def training_condition(self, batch: Batch) -> DenoiserCondition:
        """The condition y of each image of a batch; None for no condition."""

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

    def bind_condition(self, denoiser: Denoiser, condition: DenoiserCondition) -> Denoise:
        """D as a function of noisy images and times alone."""
        return lambda noisy, times: denoiser(noisy, times, condition)

    @contextmanager
    def sampler(self, condition: DenoiserCondition, draw_noise: DrawNoise) -> Iterator[Sampler]:
        """The sampler of ``sampling``, bound to the inference network, with guidance and clipping.

        Args:
            condition: y of each image.
            draw_noise: source of fresh noise.

        Yields:
            A sampler for one batch; no gradient is recorded.
        """
        options = self.sampling
        with self.inference_network() as denoiser:
            denoise = self.bind_condition(denoiser, condition)
            if options.clip:
                denoise = clipped(denoise)
            yield make_solver(options).bind(self.process, denoise, draw_noise)

    def generate_from_noise(self, noise: Images, condition: DenoiserCondition, draw_noise: DrawNoise) -> Images:
        """Generate images in [-1, 1] from standard normal noise.

        Args:
            noise: the initial noise.
            condition: y of each image.
            draw_noise: source of fresh noise.

        Returns:
            The images.
        """
        times = self.timesteps(self.sampling)
        images = noise * make_timestep(self.process, times[0]).sigma
        with self.sampler(condition, draw_noise) as sampler:
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
