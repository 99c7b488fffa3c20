"""Progressive growing of a GAN (Karras et al. 2018, https://arxiv.org/abs/1710.10196, section 2 and appendix A.1).

Training begins at a low resolution. When ``stable_images`` real images have been seen at a resolution, the layers of
the next one fade in over ``fading_images`` images. Progress is a continuous level t, a function of the images seen: an
integer t is the resolution 4 * 2^t (see :mod:`lightning_gen.networks.progressive`).
"""

from typing import Any

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.models.base import Network
from lightning_gen.models.gans.base import BaseLatentGAN
from lightning_gen.networks.progressive import at_level, top_level
from lightning_gen.networks.pyramid import pyramid_sides
from lightning_gen.types import Batch, ImageShape


def level_after(images: int, start: int, end: int, stable_images: int, fading_images: int) -> float:
    """The level after a number of training images.

    With i = k (stable + fading) + r, it is start + k + max(0, r - stable) / fading, and at most ``end``.

    Args:
        images: the number i of images seen.
        start: the level at which training begins.
        end: the largest level.
        stable_images: number of images at each integer level, at least 1.
        fading_images: number of images between two integer levels; 0 for a jump.

    Returns:
        The level in [start, end].
    """
    phases, rest = divmod(images, stable_images + fading_images)
    fading = max(0, rest - stable_images) / fading_images if fading_images else 0.0
    return min(start + phases + fading, end)


class ProgressiveGrowth(BaseLatentGAN[Network]):
    """Base class of GANs whose resolution grows: passes the level to both networks and fades the real images.

    The networks of a model take the level as a keyword argument. At each new resolution, the moments of both optimizers
    are reset (appendix A.1). Layers not yet in use have no gradient and are not changed. Before the end of growth,
    samples have the resolution in use, upsampled to ``image_shape`` by repeating pixels.

    Args:
        image_shape: (channels, side, side), a power of two in 8..1024.
        start_side: side of the images at which training begins, a power of two from 4 on; None for the side of
            ``image_shape``: no growth.
        stable_images: number of images at each resolution before the next one fades in.
        fading_images: number of images over which a resolution fades in; 0 for a jump.
        **kwargs: see :class:`BaseLatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if a value is out of range.
    """

    progress = (*BaseLatentGAN.progress, "trained_level")

    def __init__(
        self,
        image_shape: ImageShape,
        start_side: int | None = 4,
        stable_images: int = 600_000,
        fading_images: int = 600_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_at_least(1, stable_images=stable_images)
        check_at_least(0, fading_images=fading_images)
        sides = pyramid_sides(self.image_shape)
        if start_side is not None and start_side not in sides:
            choices = ", ".join(map(str, sides))
            raise InputError(f"model.start_side is {start_side}; it must be one of {choices}, or null for no growth")
        self.levels = len(sides) - 1
        self.start_level = self.levels if start_side is None else sides.index(start_side)
        self.stable_images, self.fading_images = stable_images, fading_images
        self.trained_level: int | None = None

    @property
    def level(self) -> float:
        """The level t in [0, levels] of the next training batch, and of samples."""
        return level_after(self.images_seen, self.start_level, self.levels, self.stable_images, self.fading_images)

    def network_options(self) -> dict[str, Any]:
        """The level, for both networks."""
        return {**super().network_options(), "level": self.level}

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Take a step on real images reduced to the current level, with new moments at a new resolution."""
        if self.trained_level != top_level(self.level):
            self.trained_level = top_level(self.level)
            for optimizer in self.trainer.optimizers:
                optimizer.state.clear()
        super().training_step(batch._replace(images=at_level(batch.images, self.level, self.levels)), batch_idx)
