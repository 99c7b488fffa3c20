"""What style-based GANs share: styles, truncation, style mixing, noise, the non-saturating loss and R1."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.checks import check_above, check_at_least, check_fraction
from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import NON_SATURATING
from lightning_gen.losses.penalties import r1_penalty
from lightning_gen.models.gans.base import BaseLatentGAN
from lightning_gen.models.latents import OptionalClassSampling, check_num_classes
from lightning_gen.networks.mapping import MappingNetwork
from lightning_gen.networks.style_generator import StyleGenerator
from lightning_gen.truncation import truncate
from lightning_gen.types import Batch, Images, ImageShape, Latents, Loss, RandomSource, Styles


class StyleBasedGAN(OptionalClassSampling, BaseLatentGAN[StyleGenerator]):
    """Base class of GANs whose generator is a mapping network and a synthesis network (:class:`StyleGenerator`).

    L_D = E[softplus(-l(x))] + E[softplus(l(G(z)))] + gamma / 2 E[|grad l(x)|_2^2]; L_G = E[softplus(-l(G(z)))].

    In training and in ``sample``, the synthesis network's noise is random; ``decode`` uses its constant noise, so that
    images are a function of the latents. After ``super().__init__``, a model sets its network with
    :meth:`make_mapping`, and its discriminator.

    Args:
        image_shape: (channels, side, side); the side is a power of two in 8..1024.
        conditional: whether to condition both players on the class.
        num_classes: number of classes; the command line takes it from the data.
        latent_dim: number of dimensions of z.
        style_dim: number of dimensions of w.
        mapping_layers: number of layers of the mapping network.
        mapping_lr_multiplier: factor of the learning rate of the mapping network.
        style_decay: decay per batch of the styles' average, which truncation uses.
        style_mixing: probability that a training batch is generated from the styles of two latents, the second
            from a random layer on.
        gamma: weight of R1. StyleGAN2-ADA's rule of thumb is 2e-4 side^2 / batch size.
        penalty_every: number of batches between two penalties.
        generator_lr: learning rate of the generator.
        discriminator_lr: learning rate of the discriminator.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        ema_half_life: half-life of the EMA of the weights, in images; None for no EMA.
        **kwargs: see :class:`BaseLatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.

    Attributes:
        truncation: psi of the truncation in ``decode`` and ``sample``; 1 for none.
        truncated_layers: number of layers, from the coarsest, whose styles are truncated; None for all.
    """

    network: StyleGenerator

    def __init__(
        self,
        image_shape: ImageShape,
        conditional: bool = False,
        num_classes: int = 0,
        latent_dim: int = 512,
        style_dim: int = 512,
        mapping_layers: int = 8,
        mapping_lr_multiplier: float = 0.01,
        style_decay: float = 0.995,
        style_mixing: float = 0.9,
        gamma: float = 10.0,
        penalty_every: int = 16,
        generator_lr: float = 2e-3,
        discriminator_lr: float = 2e-3,
        beta1: float = 0.0,
        beta2: float = 0.99,
        ema_half_life: float | None = 10_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            objective=NON_SATURATING,
            image_shape=image_shape,
            latent_dim=latent_dim,
            penalty_every=penalty_every,
            generator_lr=generator_lr,
            discriminator_lr=discriminator_lr,
            beta1=beta1,
            beta2=beta2,
            ema_half_life=ema_half_life,
            **kwargs,
        )
        check_at_least(1, latent_dim=latent_dim, style_dim=style_dim, mapping_layers=mapping_layers)
        check_above(0, mapping_lr_multiplier=mapping_lr_multiplier)
        check_fraction(style_decay=style_decay)
        check_at_least(0, style_mixing=style_mixing, gamma=gamma)
        if style_mixing > 1:
            raise InputError(f"model.style_mixing is {style_mixing}; it is a probability, at most 1")
        self.num_classes = check_num_classes(type(self), num_classes) if conditional else 0
        self.style_dim, self.mapping_layers = style_dim, mapping_layers
        self.mapping_lr_multiplier, self.style_decay = mapping_lr_multiplier, style_decay
        self.style_mixing, self.gamma = style_mixing, gamma
        self.truncation, self.truncated_layers = 1.0, None

    def make_mapping(self) -> MappingNetwork:
        """Build the mapping network."""
        return MappingNetwork(
            self.latent_dim,
            self.style_dim,
            self.mapping_layers,
            self.mapping_lr_multiplier,
            self.num_classes,
            self.style_decay,
        )

    # ---- styles

    @property
    def num_styles(self) -> int:
        """Number of styles of an image, one per layer."""
        return self.network.synthesis.num_styles

    @property
    def num_styles_in_use(self) -> int:
        """Number of layers, from the coarsest, that images depend on; all by default."""
        return self.num_styles

    @property
    def style_average(self) -> Float[Tensor, " style"]:
        """The average of the styles over training."""
        with self.inference_network() as network:
            return network.mapping.average

    def styles(self, latents: Latents) -> Styles:
        """Styles of latents, not truncated."""
        with self.inference_network() as network:
            return network.styles(latents)

    def decode_styles(self, styles: Styles) -> Images:
        """Images in [-1, 1] of styles, with constant noise; gradients flow into styles that require them.

        The gradient passes the clamp unchanged: a saturated pixel of the wrong colour can still be moved.
        """
        with self.inference_network() as network, torch.set_grad_enabled(styles.requires_grad):
            images = network.synthesis(styles, **self.network_options())
            clamped = images.detach().clamp(-1, 1)
            return clamped + (images - images.detach()) if styles.requires_grad else clamped

    def decode(self, latents: Latents) -> Images:
        """Images in [-1, 1] of latents, truncated if ``truncation`` is set, with constant noise."""
        return self.decode_styles(self.truncate(self.styles(latents)))

    def decode_sampled(self, latents: Latents, generator: RandomSource) -> Images:
        """As :meth:`decode`, with noise drawn for each image."""
        with self.inference_network() as network:
            noise = network.synthesis.draw_noise(len(latents), generator)
            styles = self.truncate(network.styles(latents))
            return network.synthesis(styles, noise, **self.network_options()).clamp(-1, 1)

    def truncate(self, styles: Styles) -> Styles:
        """Move the styles of the truncated layers towards the average."""
        return truncate(styles, self.style_average, self.truncation, self.truncated_layers)

    # ---- training

    def mixed_styles(self, batch: Batch, num: int | None = None) -> Styles:
        """Draw styles for the first ``num`` images of a training batch, with style mixing."""
        styles = self.network.styles(self.latents_for(batch)[:num])
        if torch.rand(()) < self.style_mixing:
            others = self.network.styles(self.latents_for(batch)[:num])
            crossover = int(torch.randint(1, self.num_styles_in_use, ()))
            styles = torch.cat([styles[:, :crossover], others[:, crossover:]], 1)
        return styles

    def generate(self, batch: Batch) -> Images:
        """Generate one image per real image of the batch, and update the styles' average."""
        styles = self.mixed_styles(batch)
        self.network.mapping.update_average(styles[:, 0])
        noise = self.network.synthesis.draw_noise(len(styles))
        return self.network.synthesis(styles, noise, **self.network_options())

    def discriminator_penalty(self, batch: Batch, fakes: Images) -> Loss | None:
        """R1: the mean squared gradient at the batch's images."""
        penalty = r1_penalty(lambda images: self.logits(images, batch.labels), batch.images)
        return Loss(self.gamma / 2 * penalty, {"r1": penalty})
