"""StyleGAN (Karras et al. 2019, https://arxiv.org/abs/1812.04948)."""

from typing import Any

from lightning_gen.checks import check_at_least
from lightning_gen.models.gans.progressive_growth import ProgressiveGrowth
from lightning_gen.models.gans.style_based import StyleBasedGAN
from lightning_gen.networks.adain import AdaINSynthesis, binomial_blur
from lightning_gen.networks.progressive import ProgressiveDiscriminator, top_level
from lightning_gen.networks.style_generator import StyleGenerator
from lightning_gen.types import ImageShape


class StyleGAN(ProgressiveGrowth[StyleGenerator], StyleBasedGAN):
    """AdaIN with the styles of a mapping network, noise, a learned constant, and networks that grow from 8 x 8 pixels.

    This is configuration F of the paper: the non-saturating loss with R1 in every batch, style mixing, and the filter
    [1, 2, 1] / 4 after upsampling and before downsampling. Feature maps are those of ProGAN. The learning rate is the
    same at all resolutions. The model is not conditional.

    Args:
        image_shape: (channels, side, side), a power of two in 8..1024.
        channel_base: number of channels times the side of a feature map.
        channel_max: maximum number of channels.
        start_side: side of the images at which training begins, a power of two from 4 on; None for the side of
            ``image_shape``: no growth.
        penalty_every: number of batches between two penalties.
        generator_lr: learning rate of the generator.
        discriminator_lr: learning rate of the discriminator.
        **kwargs: see :class:`ProgressiveGrowth`, :class:`StyleBasedGAN`, :class:`BaseLatentGAN`,
            :class:`AdversarialModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if a value is out of range.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        channel_base: int = 16384,
        channel_max: int = 512,
        start_side: int | None = 8,
        penalty_every: int = 1,
        generator_lr: float = 1e-3,
        discriminator_lr: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        check_at_least(1, channel_base=channel_base, channel_max=channel_max)
        super().__init__(
            image_shape=image_shape,
            start_side=start_side,
            conditional=False,
            num_classes=0,
            penalty_every=penalty_every,
            generator_lr=generator_lr,
            discriminator_lr=discriminator_lr,
            **kwargs,
        )
        channels = (channel_base, channel_max, self.start_level)
        synthesis = AdaINSynthesis(self.image_shape, self.style_dim, *channels)
        self.set_network(StyleGenerator(self.make_mapping(), synthesis))
        self.discriminator = ProgressiveDiscriminator(self.pack_shape, *channels, prefilter=binomial_blur)
        self.save_hyperparameters()

    @property
    def num_styles_in_use(self) -> int:
        """Number of layers at the current resolution and below: two per resolution."""
        return 2 * (top_level(self.level) + 1)
