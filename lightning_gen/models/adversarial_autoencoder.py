"""The adversarial autoencoder (Makhzani et al. 2016, https://arxiv.org/abs/1511.05644).

A discriminator tells codes from latents of the prior, and the encoder learns to be taken for the prior:

    discriminator:     minimise -E[log D(z)] - E[log(1 - D(encoder(x)))],    z ~ N(0, I)
    encoder, decoder:  minimise E |x - decoder(encoder(x))|^2 - weight E[log D(encoder(x))]
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import NON_SATURATING, Logits
from lightning_gen.models.adversarial import AdversarialModule
from lightning_gen.models.coding import CodingModule
from lightning_gen.models.latents import GaussianLatents
from lightning_gen.networks.mlp import mlp
from lightning_gen.types import Batch, ImageShape, Latents, Loss


class AdversarialAutoencoder(CodingModule, GaussianLatents, AdversarialModule):
    """Deterministic codes that a discriminator of codes, not of images, holds to the prior.

    The paper steps on the reconstruction and on the adversarial loss in turn; here encoder and decoder step on their
    weighted sum, which is one pass less.

    Args:
        image_shape: (channels, height, width).
        adversarial_weight: weight of the encoder's adversarial loss in nats, against a squared error that is a mean
            over the pixels of images in [-1, 1]; with 0 the codes are free.
        discriminator_hidden: widths of the discriminator's hidden layers (the paper's are (1000, 1000)).
        generator_lr: learning rate of encoder and decoder.
        discriminator_lr: learning rate of the discriminator.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the mean squared gradient.
        **kwargs: see :class:`CodingModule`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        adversarial_weight: float = 0.1,
        discriminator_hidden: tuple[int, ...] = (256, 256),
        generator_lr: float = 1e-3,
        discriminator_lr: float = 1e-3,
        beta1: float = 0.5,
        beta2: float = 0.999,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        if adversarial_weight < 0:
            raise InputError(f"model.adversarial_weight is {adversarial_weight}; it must not be negative")
        self.adversarial_weight = adversarial_weight
        self.generator_lr, self.discriminator_lr, self.betas = generator_lr, discriminator_lr, (beta1, beta2)
        self.discriminator = mlp([self.latent_dim, *discriminator_hidden, 1])

    def generators(self) -> list[nn.Module]:
        """Encoder and decoder."""
        return [self.networks["encoder"], self.networks["decoder"]]

    def discriminators(self) -> list[nn.Module]:
        """The discriminator of codes."""
        return [self.discriminator]

    def configure_optimizers(self) -> Any:
        """Adam for encoder and decoder, and for the discriminator."""
        return self.scheduled(
            Adam(self.networks.parameters(), self.generator_lr, self.betas),
            Adam(self.discriminator.parameters(), self.discriminator_lr, self.betas),
        )

    def judge(self, latents: Latents) -> Logits:
        """The log odds that latents come from the prior."""
        return self.discriminator(latents)[:, 0]

    def generate(self, batch: Batch) -> Latents:
        """The codes of a batch, which are the fakes."""
        return self.networks["encoder"](batch.images)

    def discriminator_loss(self, batch: Batch, fakes: Latents) -> Loss:
        """Cross entropy of telling latents of the prior from codes."""
        real, fake = self.judge(self.latents_like(batch)), self.judge(fakes)
        total = NON_SATURATING.discriminator(real, fake)
        return Loss(total, {"discriminator": total, "real_logit": real.mean(), "fake_logit": fake.mean()})

    def generator_loss(self, batch: Batch, fakes: Latents) -> Loss:
        """Mean squared error over pixels of images in [-1, 1], and the weighted loss of codes that are told apart."""
        reconstruction = F.mse_loss(self.networks["decoder"](fakes), batch.images)
        adversarial = NON_SATURATING.generator(self.judge(fakes))
        total = reconstruction + self.adversarial_weight * adversarial
        return Loss(total, {"generator": adversarial, "reconstruction": reconstruction})

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the terms of held-out images as ``val_loss/name``, against latents that are the same each time.

        Args:
            batch: the batch.
            batch_idx: its number.
        """
        self.log_held_out("val_loss", self.terms, batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the same terms of test images as ``test_loss/name``.

        Args:
            batch: the batch.
            batch_idx: its number.
        """
        self.log_held_out("test_loss", self.terms, batch, batch_idx)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of both players' losses of a batch."""
        codes = self.generate(batch)
        return {**self.discriminator_loss(batch, codes).terms, **self.generator_loss(batch, codes).terms}
