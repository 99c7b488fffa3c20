"""The generative models, each a LightningModule of its own.

A configuration names a model of this package by its class (``class_path: DCGAN``), and any other subclass of
:class:`~lightning_gen.models.base.GenerativeModule` by its import path.
"""

from lightning_gen.models.acgan import ACGAN
from lightning_gen.models.adversarial_autoencoder import AdversarialAutoencoder
from lightning_gen.models.autoencoder import Autoencoder
from lightning_gen.models.beta_vae import BetaVAE
from lightning_gen.models.conditional_gan import ConditionalGAN
from lightning_gen.models.conditional_vae import ConditionalVAE
from lightning_gen.models.consistency_model import ConsistencyModel
from lightning_gen.models.dcgan import DCGAN
from lightning_gen.models.ddpm import DDPM
from lightning_gen.models.denoising_autoencoder import DenoisingAutoencoder
from lightning_gen.models.edm import EDM
from lightning_gen.models.flow_matching import FlowMatching
from lightning_gen.models.gan import GAN
from lightning_gen.models.iwae import IWAE
from lightning_gen.models.lsgan import LSGAN
from lightning_gen.models.projection_gan import ProjectionGAN
from lightning_gen.models.r1gan import R1GAN
from lightning_gen.models.sngan import SNGAN
from lightning_gen.models.unrolled_gan import UnrolledGAN
from lightning_gen.models.vae import VAE
from lightning_gen.models.vqvae import VQVAE
from lightning_gen.models.wae_mmd import WAEMMD
from lightning_gen.models.wgan import WGAN
from lightning_gen.models.wgan_gp import WGANGP

__all__ = [
    "ACGAN",
    "DCGAN",
    "DDPM",
    "EDM",
    "GAN",
    "IWAE",
    "LSGAN",
    "R1GAN",
    "SNGAN",
    "VAE",
    "VQVAE",
    "WAEMMD",
    "WGAN",
    "WGANGP",
    "AdversarialAutoencoder",
    "Autoencoder",
    "BetaVAE",
    "ConditionalGAN",
    "ConditionalVAE",
    "ConsistencyModel",
    "DenoisingAutoencoder",
    "FlowMatching",
    "ProjectionGAN",
    "UnrolledGAN",
]
