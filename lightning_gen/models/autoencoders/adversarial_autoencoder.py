"""The adversarial autoencoder (Makhzani et al. 2016, https://arxiv.org/abs/1511.05644).

A discriminator distinguishes encoded images from latents of the prior, and the encoder is trained to fool it:

    discriminator:     minimise -E[log D(z)] - E[log(1 - D(encoder(x)))],    z ~ N(0, I)
    encoder, decoder:  minimise E |x - decoder(encoder(x))|^2 - weight E[log D(encoder(x))]
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.checks import check_at_least
from lightning_gen.losses.adversarial import NON_SATURATING, Logits
from lightning_gen.models.adversarial import AdversarialModule
from lightning_gen.models.autoencoders.deterministic import DeterministicModule
from lightning_gen.models.held_out import HeldOutLoss
from lightning_gen.models.latents import LatentSampling
from lightning_gen.networks.autoencoder import EncoderDecoder
from lightning_gen.networks.mlp import mlp
from lightning_gen.types import Batch, ImageShape, Latents, Loss


class AdversarialAutoencoder(DeterministicModule, HeldOutLoss, LatentSampling, AdversarialModule[EncoderDecoder]):
    """Deterministic latents, matched to the prior by a discriminator of latents.

    The paper alternates steps on the reconstruction and the adversarial loss; here encoder and decoder take one step on
    their weighted sum, which saves a forward pass.

    Args:
        image_shape: (channels, height, width).
        adversarial_weight: weight of the encoder's adversarial loss in nats, relative to the mean squared error over
            the pixels of images in [-1, 1]; with 0 the latents are unconstrained.
        discriminator_hidden: widths of the discriminator's hidden layers (the paper's are (1000, 1000)).
        generator_lr: learning rate of encoder and decoder.
        discriminator_lr: learning rate of the discriminator.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        **kwargs: see :class:`DeterministicModule`, :class:`AdversarialModule` and :class:`GenerativeModule`.
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
        check_at_least(0, adversarial_weight=adversarial_weight)
        self.adversarial_weight = adversarial_weight
        self.generator_lr, self.discriminator_lr, self.betas = generator_lr, discriminator_lr, (beta1, beta2)
        self.discriminator = mlp([self.latent_dim, *discriminator_hidden, 1])
        self.save_hyperparameters()

    def discriminators(self) -> list[nn.Module]:
        """The discriminator of latents."""
        return [self.discriminator]

    def logits(self, latents: Latents) -> Logits:
        """Log odds that latents come from the prior."""
        return self.discriminator(latents)[:, 0]

    def generate(self, batch: Batch) -> Latents:
        """The latents of a batch, which are the fakes."""
        return self.network.encode(batch.images)

    def discriminator_loss(self, batch: Batch, fakes: Latents) -> Loss:
        """Cross entropy of prior latents against encoded images."""
        real, fake = self.logits(self.latents_for(batch)), self.logits(fakes)
        total = NON_SATURATING.discriminator_loss(real, fake)
        return Loss(total, {"discriminator": total, "real_logit": real.mean(), "fake_logit": fake.mean()})

    def generator_loss(self, batch: Batch, fakes: Latents) -> Loss:
        """Mean squared error over pixels of images in [-1, 1], plus the weighted adversarial loss of the encoder."""
        reconstruction = F.mse_loss(self.network.decode(fakes), batch.images)
        adversarial = NON_SATURATING.generator_loss(self.logits(fakes))
        total = reconstruction + self.adversarial_weight * adversarial
        return Loss(total, {"generator": adversarial, "reconstruction": reconstruction})

    def held_out_terms(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of both players' losses of a batch."""
        latents = self.generate(batch)
        return {**self.discriminator_loss(batch, latents).terms, **self.generator_loss(batch, latents).terms}
