"""StyleGAN3 (Karras et al. 2021, https://arxiv.org/abs/2106.12423)."""

from typing import Any, Literal

import torch

from lightning_gen.checks import check_at_least
from lightning_gen.models.gans.style_gan2_base import StyleGAN2Base
from lightning_gen.networks.alias_free import AliasFreeSynthesis
from lightning_gen.networks.fir import blur
from lightning_gen.types import Images, ImageShape


class StyleGAN3(StyleGAN2Base):
    r"""An alias-free generator without noise, and StyleGAN2's discriminator and loss without path lengths.

    Configuration ``t`` is equivariant to translation, ``r`` to rotation as well, at several times the cost; see
    :class:`~lightning_gen.networks.alias_free.AliasFreeSynthesis`. ``evaluation/equivariance.py`` measures both.

    Args:
        image_shape: (channels, side, side); the side is a power of two in 8..1024.
        config: ``t`` or ``r``.
        num_layers: number of layers of the synthesis network, without its input and its last convolution.
        num_critical: number of critically sampled layers at its end.
        margin: samples beyond each side of the image that feature maps have. Fewer make the generator faster and less
            equivariant.
        gamma: weight of R1; None for 0.5 (side / 128)^2, the paper's choice at a batch size of 32.
        blur_sigma: the discriminator's inputs are blurred by 2^(-(x / sigma)^2), x in pixels, with this sigma at first;
            0 for no blur. The paper blurs by 10 pixels with ``r``.
        blur_images: number of images over which sigma decays linearly to 0.
        mapping_layers: number of layers of the mapping network.
        style_decay: decay per batch of the styles' average.
        style_mixing: as in :class:`StyleBasedGAN`; the paper has none.
        generator_lr: learning rate of the generator.
        **kwargs: see :class:`StyleGAN2Base`, :class:`StyleBasedGAN`, :class:`BaseLatentGAN`,
            :class:`AdversarialModule` and :class:`GenerativeModule`. A layer of the generator with cutoff f_c has
            ``channel_base / (2 f_c)`` channels, and at most ``channel_max``; twice as many with ``r``.

    Raises:
        InputError: if a value is out of range.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        config: Literal["t", "r"] = "t",
        num_layers: int = 14,
        num_critical: int = 2,
        margin: int = 10,
        gamma: float | None = None,
        blur_sigma: float = 0.0,
        blur_images: int = 200_000,
        mapping_layers: int = 2,
        style_decay: float = 0.998,
        style_mixing: float = 0.0,
        generator_lr: float = 2.5e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_shape=image_shape,
            gamma=0.5 * (image_shape[-1] / 128) ** 2 if gamma is None else gamma,
            mapping_layers=mapping_layers,
            style_decay=style_decay,
            style_mixing=style_mixing,
            generator_lr=generator_lr,
            **kwargs,
        )
        check_at_least(0, blur_sigma=blur_sigma)
        check_at_least(1, blur_images=blur_images)
        self.blur_sigma, self.blur_images = blur_sigma, blur_images
        if blur_sigma:
            self.input_transforms.insert(0, self.blur)
        layers = (config, num_layers, num_critical, margin, self.channel_base, self.channel_max)
        self.set_players(AliasFreeSynthesis(self.image_shape, self.style_dim, *layers))
        self.save_hyperparameters()

    def blur(self, images: Images) -> Images:
        """Blur the discriminator's inputs by a Gaussian of the current sigma, cut off at three sigma."""
        sigma = self.blur_sigma * max(0.0, 1 - self.images_seen / self.blur_images)
        radius = int(3 * sigma)
        if radius < 1:
            return images
        taps = torch.exp2(-(torch.arange(-radius, radius + 1) / sigma).square())
        return blur(images, taps / taps.sum())
