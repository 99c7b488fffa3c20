"""All models, each a LightningModule in a file of its own.

Any subclass of :class:`~lightning_gen.models.base.GenerativeModule` can be named in a configuration: these by their
name, others by their import path.
"""

from lightning_gen.models.autoencoders.adversarial_autoencoder import AdversarialAutoencoder as AdversarialAutoencoder
from lightning_gen.models.autoencoders.autoencoder import Autoencoder as Autoencoder
from lightning_gen.models.autoencoders.beta_vae import BetaVAE as BetaVAE
from lightning_gen.models.autoencoders.conditional_vae import ConditionalVAE as ConditionalVAE
from lightning_gen.models.autoencoders.denoising_autoencoder import DenoisingAutoencoder as DenoisingAutoencoder
from lightning_gen.models.autoencoders.iwae import IWAE as IWAE
from lightning_gen.models.autoencoders.vae import VAE as VAE
from lightning_gen.models.autoencoders.vqvae import VQVAE as VQVAE
from lightning_gen.models.autoencoders.wae_mmd import WAEMMD as WAEMMD
from lightning_gen.models.diffusion.consistency_model import ConsistencyModel as ConsistencyModel
from lightning_gen.models.diffusion.ddpm import DDPM as DDPM
from lightning_gen.models.diffusion.edm import EDM as EDM
from lightning_gen.models.diffusion.flow_matching import FlowMatching as FlowMatching
from lightning_gen.models.gans.acgan import ACGAN as ACGAN
from lightning_gen.models.gans.conditional_gan import ConditionalGAN as ConditionalGAN
from lightning_gen.models.gans.dcgan import DCGAN as DCGAN
from lightning_gen.models.gans.gan import GAN as GAN
from lightning_gen.models.gans.lsgan import LSGAN as LSGAN
from lightning_gen.models.gans.projection_gan import ProjectionGAN as ProjectionGAN
from lightning_gen.models.gans.r1gan import R1GAN as R1GAN
from lightning_gen.models.gans.sngan import SNGAN as SNGAN
from lightning_gen.models.gans.unrolled_gan import UnrolledGAN as UnrolledGAN
from lightning_gen.models.gans.wgan import WGAN as WGAN
from lightning_gen.models.gans.wgan_gp import WGANGP as WGANGP
