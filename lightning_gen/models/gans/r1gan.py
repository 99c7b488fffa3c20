"""The GAN with R1 regularisation (Mescheder et al. 2018, https://arxiv.org/abs/1801.04406)."""

from typing import Any, Literal

from lightning_gen.checks import check_at_least
from lightning_gen.losses.adversarial import NON_SATURATING
from lightning_gen.losses.penalties import r1_penalty
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.types import Batch, Images, ImageShape, Loss


class R1GAN(LatentGAN):
    """The non-saturating loss, and a penalty on the discriminator's gradient at real images.

    L_D = E[softplus(-l(x))] + E[softplus(l(G(z)))] + gamma / 2 E[|grad l(x)|_2^2], the last term in every
    ``penalty_every``-th batch with that many times the weight (Karras et al. 2020, https://arxiv.org/abs/1912.04958).
    With the penalty, training converges locally even if the data lies on a manifold.

    Args:
        image_shape: (channels, height, width).
        gamma: weight of the penalty.
        penalty_every: number of batches between two penalties.
        discriminator_norm: ``none``, the paper's choice, or ``spectral``.
        beta1: Adam's decay of the first moment; the paper finds 0 to be best.
        beta2: Adam's decay of the second moment.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if a value is out of range, or ``minibatch`` is ``discrimination``.
    """

    penalises_gradient = True

    def __init__(
        self,
        image_shape: ImageShape,
        gamma: float = 10.0,
        penalty_every: int = 4,
        discriminator_norm: Literal["none", "spectral"] = "none",
        beta1: float = 0.0,
        beta2: float = 0.99,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            objective=NON_SATURATING,
            image_shape=image_shape,
            penalty_every=penalty_every,
            discriminator_norm=discriminator_norm,
            beta1=beta1,
            beta2=beta2,
            **kwargs,
        )
        check_at_least(0, gamma=gamma)
        self.gamma = gamma
        self.set_network(self.make_generator())
        self.discriminator = self.make_discriminator()
        self.save_hyperparameters()

    def discriminator_penalty(self, batch: Batch, fakes: Images) -> Loss:
        """R1: the mean squared gradient at the batch's images."""
        penalty = r1_penalty(lambda images: self.logits(images, batch.labels), batch.images)
        return Loss(self.gamma / 2 * penalty, {"r1": penalty})
