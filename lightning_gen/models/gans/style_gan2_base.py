"""What StyleGAN2 and StyleGAN3 share: the residual discriminator, and images after a transform of the input."""

from typing import Any

from lightning_gen.checks import check_at_least
from lightning_gen.models.gans.style_based import StyleBasedGAN
from lightning_gen.networks.style_discriminator import StyleDiscriminator
from lightning_gen.networks.style_generator import StyleGenerator, TransformableSynthesis
from lightning_gen.types import Images, ImageShape, Latents, Transforms


class StyleGAN2Base(StyleBasedGAN):
    """Base class of StyleGAN2 and StyleGAN3.

    After ``super().__init__``, a model builds both players with :meth:`set_players`.

    Args:
        image_shape: (channels, side, side); the side is a power of two in 8..1024.
        channel_base: number of channels times the side of a feature map.
        channel_max: maximum number of channels.
        stddev_group: number of images of the discriminator's minibatch standard deviation; 1 for no such layer.
        **kwargs: see :class:`StyleBasedGAN`, :class:`BaseLatentGAN`, :class:`AdversarialModule` and
            :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        channel_base: int = 32768,
        channel_max: int = 512,
        stddev_group: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_at_least(1, channel_base=channel_base, channel_max=channel_max, stddev_group=stddev_group)
        self.channel_base, self.channel_max, self.stddev_group = channel_base, channel_max, stddev_group

    def set_players(self, synthesis: TransformableSynthesis) -> None:
        """Set the network object, with this synthesis network, and the discriminator."""
        self.set_network(StyleGenerator(self.make_mapping(), synthesis))
        self.discriminator = StyleDiscriminator(
            self.pack_shape,
            self.channel_base,
            self.channel_max,
            self.stddev_group,
            self.num_classes,
        )

    @property
    def transformable(self) -> bool:
        """Whether the generator's input is Fourier features, which can be transformed."""
        synthesis = self.network.synthesis
        return isinstance(synthesis, TransformableSynthesis) and synthesis.transformable

    def decode_transformed(self, latents: Latents, matrices: Transforms) -> Images:
        """Images of latents after a transform of the Fourier features, with constant noise, not clipped to [-1, 1].

        Args:
            latents: the latents.
            matrices: matrices A: what is at the position A p of the image without transform comes to p.

        Returns:
            The images.
        """
        with self.inference_network() as network:
            assert isinstance(network.synthesis, TransformableSynthesis)
            return network.synthesis(self.truncate(network.styles(latents)), transforms=matrices)
