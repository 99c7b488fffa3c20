"""StyleGAN2 (Karras et al. 2020, https://arxiv.org/abs/1912.04958)."""

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_gen.checks import check_at_least, check_fraction
from lightning_gen.distributed import average_over_ranks
from lightning_gen.losses.path_length import path_lengths
from lightning_gen.models.gans.style_gan2_base import StyleGAN2Base
from lightning_gen.networks.style_generator import SkipSynthesis
from lightning_gen.types import Batch, ImageShape, Loss


class StyleGAN2(StyleGAN2Base):
    r"""Modulated convolutions, an image at every resolution, a residual discriminator, R1 and path lengths.

    L_G = E[softplus(-l(G(z)))] + weight E[(|J_w^T y| - a)^2], the second term in every ``generator_penalty_every``-th
    batch with that many times the weight, on half of the batch. The weight 2 is the paper's
    :math:`\gamma_{pl} = \ln 2 / (r^2 (\ln r - \ln 2))` for every resolution r, in the units of
    :mod:`~lightning_gen.losses.path_length`.

    The penalties are added to the loss of the same step. StyleGAN2's own training takes a separate step for each,
    k + 1 steps in k batches, and corrects Adam's learning rate and decays for that; here no correction is needed.

    Args:
        image_shape: (channels, side, side); the side is a power of two in 8..1024.
        input: what the generator starts from at 4 x 4 pixels: a learned ``constant``, or ``fourier`` features, with
            which its equivariance can be measured (Karras et al. 2021, https://arxiv.org/abs/2106.12423,
            configuration B).
        path_length_weight: weight of the path length regularisation; 0 for none.
        path_length_decay: decay of the average length a per penalty.
        generator_penalty_every: number of batches between two path length penalties.
        **kwargs: see :class:`StyleGAN2Base`, :class:`StyleBasedGAN`, :class:`BaseLatentGAN`,
            :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    average_path_length: Tensor

    def __init__(
        self,
        image_shape: ImageShape,
        input: Literal["constant", "fourier"] = "constant",
        path_length_weight: float = 2.0,
        path_length_decay: float = 0.99,
        generator_penalty_every: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, generator_penalty_every=generator_penalty_every, **kwargs)
        check_at_least(0, path_length_weight=path_length_weight)
        check_fraction(path_length_decay=path_length_decay)
        self.path_length_weight, self.path_length_decay = path_length_weight, path_length_decay
        shape = (self.image_shape, self.style_dim, self.channel_base, self.channel_max)
        self.set_players(SkipSynthesis(*shape, fourier_features=input == "fourier"))
        self.register_buffer("average_path_length", torch.zeros(()))
        self.save_hyperparameters()

    def generator_penalty(self, batch: Batch) -> Loss | None:
        """The squared deviation of path lengths from their moving average, on half of the batch."""
        if self.path_length_weight == 0:
            return None
        styles = self.mixed_styles(batch, max(1, len(batch.images) // 2))
        images = self.network.synthesis(styles, self.network.synthesis.draw_noise(len(styles)))
        lengths = path_lengths(images, styles)
        mean = lengths.detach().mean()
        average_over_ranks([mean])
        self.average_path_length.lerp_(mean, 1 - self.path_length_decay)
        penalty = (lengths - self.average_path_length).square().mean()
        return Loss(self.path_length_weight * penalty, {"path_length": mean, "path_length_penalty": penalty})
