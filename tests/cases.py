"""One row a model: what the battery in test_models.py builds, and what it expects of it."""

from dataclasses import dataclass, field
from typing import Any

from lightning_gen.models.autoencoder import Autoencoder
from lightning_gen.models.base import GenerativeModule
from lightning_gen.models.dcgan import DCGAN
from lightning_gen.models.vae import VAE


@dataclass(frozen=True)
class Case:
    model: type[GenerativeModule]
    terms: set[str]
    """Names logged in training, without their prefix ``loss/``."""
    configs: tuple[str, ...]
    """Stems of the files in configs/ that train this model."""
    variants: tuple[dict[str, Any], ...] = ({},)
    """Hyper-parameters, small enough for a test, under which the battery runs."""
    tiny: dict[str, Any] = field(default_factory=dict)
    """Hyper-parameters that make any of the configs small enough to take a step in a test."""

    def build(self, variant: int = 0, **overrides: Any) -> GenerativeModule:
        return self.model(**{"image_shape": (1, 16, 16), **self.tiny, **self.variants[variant], **overrides})


SMALL = {"width": 4, "latent_dim": 6}

CASES = [
    Case(
        Autoencoder,
        terms={"reconstruction", "total"},
        configs=("autoencoder_digits", "autoencoder_mnist", "autoencoder_cifar10", "autoencoder_celeba"),
        variants=({"network": "conv"}, {"network": "mlp", "hidden": (12,)}),
        tiny=SMALL,
    ),
    Case(
        VAE,
        terms={"reconstruction", "kl", "elbo", "total"},
        configs=("vae_digits", "vae_mnist", "vae_cifar10", "vae_celeba"),
        variants=(
            {"network": "conv", "ema_half_life": 50.0},
            {"network": "mlp", "hidden": (12,), "likelihood": "gaussian", "beta": 2.0, "beta_warmup": 64},
        ),
        tiny=SMALL,
    ),
    Case(
        DCGAN,
        terms={"discriminator", "generator", "real_logit", "fake_logit"},
        configs=("dcgan_digits", "dcgan_mnist", "dcgan_cifar10", "dcgan_celeba"),
        variants=({"ema_half_life": 50.0}, {"n_critic": 2, "clip": 1.0, "lr_schedule": "linear", "accumulate": 2}),
        tiny=SMALL,
    ),
]
