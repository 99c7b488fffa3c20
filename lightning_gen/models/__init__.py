"""All models, each a LightningModule in a file of its own.

Any subclass of :class:`~lightning_gen.models.base.GenerativeModule` can be named in a configuration: these by their
name, others by their import path.
"""

from lightning_gen.models.autoencoders.adversarial_autoencoder import AdversarialAutoencoder
from lightning_gen.models.autoencoders.autoencoder import Autoencoder
from lightning_gen.models.autoencoders.beta_vae import BetaVAE
from lightning_gen.models.autoencoders.conditional_vae import ConditionalVAE
from lightning_gen.models.autoencoders.denoising_autoencoder import DenoisingAutoencoder
from lightning_gen.models.autoencoders.iwae import IWAE
from lightning_gen.models.autoencoders.vae import VAE
from lightning_gen.models.autoencoders.vqvae import VQVAE
from lightning_gen.models.autoencoders.wae_mmd import WAEMMD
from lightning_gen.models.diffusion.consistency_model import ConsistencyModel
from lightning_gen.models.diffusion.ddpm import DDPM
from lightning_gen.models.diffusion.edm import EDM
from lightning_gen.models.diffusion.flow_matching import FlowMatching
from lightning_gen.models.gans.acgan import ACGAN
from lightning_gen.models.gans.conditional_gan import ConditionalGAN
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.models.gans.gan import GAN
from lightning_gen.models.gans.lsgan import LSGAN
from lightning_gen.models.gans.pro_gan import ProGAN
from lightning_gen.models.gans.projection_gan import ProjectionGAN
from lightning_gen.models.gans.r1gan import R1GAN
from lightning_gen.models.gans.r3gan import R3GAN
from lightning_gen.models.gans.sngan import SNGAN
from lightning_gen.models.gans.style_gan import StyleGAN
from lightning_gen.models.gans.style_gan2 import StyleGAN2
from lightning_gen.models.gans.style_gan3 import StyleGAN3
from lightning_gen.models.gans.unrolled_gan import UnrolledGAN
from lightning_gen.models.gans.wgan import WGAN
from lightning_gen.models.gans.wgan_gp import WGANGP
from lightning_gen.models.super_resolution.esrgan import ESRGAN
from lightning_gen.models.super_resolution.srgan import SRGAN
from lightning_gen.models.super_resolution.srresnet import SRResNet
from lightning_gen.models.translation.cut import CUT
from lightning_gen.models.translation.cyclegan import CycleGAN
from lightning_gen.models.translation.pix2pix import Pix2Pix
from lightning_gen.models.translation.sr3 import SR3

__all__ = [
    "ACGAN",
    "CUT",
    "DCGAN",
    "DDPM",
    "EDM",
    "ESRGAN",
    "GAN",
    "IWAE",
    "LSGAN",
    "R1GAN",
    "R3GAN",
    "SNGAN",
    "SR3",
    "SRGAN",
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
    "CycleGAN",
    "DenoisingAutoencoder",
    "FlowMatching",
    "Pix2Pix",
    "ProGAN",
    "ProjectionGAN",
    "SRResNet",
    "StyleGAN",
    "StyleGAN2",
    "StyleGAN3",
    "UnrolledGAN",
]
