"""The GAN with R1 regularisation (Mescheder et al. 2018, https://arxiv.org/abs/1801.04406)."""

from typing import Any

from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import NON_SATURATING
from lightning_gen.losses.penalties import r1
from lightning_gen.models.latent_gan import LatentGAN
from lightning_gen.networks.discriminator import Norm
from lightning_gen.types import Batch, Images, ImageShape, Loss


class R1GAN(LatentGAN):
    """The non-saturating loss, and a penalty on the discriminator's gradient at real images.

    L_D = E[softplus(-l(x))] + E[softplus(l(G(z)))] + gamma / 2 E[|grad l(x)|_2^2], the last term in every
    ``penalty_every``-th batch with as many times the weight (Karras et al. 2020, https://arxiv.org/abs/1912.04958).
    With it training converges locally even where the data lies on a manifold.

    Args:
        image_shape: (channels, height, width).
        gamma: weight of the penalty.
        penalty_every: batches between two penalties.
        discriminator_norm: ``none``, ``spectral`` or ``batch``; the paper uses none.
        beta1: Adam's decay of the mean gradient; the paper finds 0 to be best.
        beta2: Adam's decay of the mean squared gradient.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    objective = NON_SATURATING

    def __init__(
        self,
        image_shape: ImageShape,
        gamma: float = 10.0,
        penalty_every: int = 4,
        discriminator_norm: Norm = "none",
        beta1: float = 0.0,
        beta2: float = 0.99,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_shape=image_shape,
            penalty_every=penalty_every,
            discriminator_norm=discriminator_norm,
            beta1=beta1,
            beta2=beta2,
            **kwargs,
        )
        if gamma < 0:
            raise InputError(f"model.gamma is {gamma}; it must not be negative")
        self.save_hyperparameters()
        self.gamma = gamma
        self.build()

    def discriminator_penalty(self, batch: Batch, fakes: Images) -> Loss:
        """R1: the mean squared gradient at the batch's images."""
        penalty = r1(lambda images: self.judge(images, batch.labels), batch.images)
        return Loss(self.gamma / 2 * penalty, {"r1": penalty})
