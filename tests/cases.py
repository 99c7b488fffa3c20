"""One row per model: the variants that the battery in test_models.py builds, and what it expects of them."""

from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import DataLoader

from lightning_gen.models.autoencoders.adversarial_autoencoder import AdversarialAutoencoder
from lightning_gen.models.autoencoders.autoencoder import Autoencoder
from lightning_gen.models.autoencoders.beta_vae import BetaVAE
from lightning_gen.models.autoencoders.conditional_vae import ConditionalVAE
from lightning_gen.models.autoencoders.denoising_autoencoder import DenoisingAutoencoder
from lightning_gen.models.autoencoders.iwae import IWAE
from lightning_gen.models.autoencoders.vae import VAE
from lightning_gen.models.autoencoders.vqvae import VQVAE
from lightning_gen.models.autoencoders.wae_mmd import WAEMMD
from lightning_gen.models.base import GenerativeModule
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
from tests.helpers import loader


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
    sides: tuple[int, ...] = (8, 28, 64, 100, 128)
    """Sides of images that the model makes."""
    scale: int | None = None
    """How many times larger images are than the inputs they are made from; None for a model without inputs."""
    per_rank: tuple[str, ...] = ()
    """Prefixes of the names of buffers that differ between ranks."""

    def build(self, variant: int = 0, **overrides: Any) -> GenerativeModule:
        arguments = {"image_shape": (1, 16, 16), **self.tiny, **self.variants[variant], **overrides}
        if (scale := self.scale_of(variant)) is not None and "input_shape" not in overrides:
            channels, height, width = arguments["image_shape"]
            arguments["input_shape"] = (channels, height // scale, width // scale)
        return self.model(**arguments)

    def loader(self, variant: int = 0, **options: Any) -> DataLoader:
        return loader(scale=self.scale_of(variant), **options)

    def terms_of(self, variant: int) -> set[str]:
        """``terms``, and those of the adaptive augmentation if the variant has it."""
        if self.variants[variant].get("augment") != "ada":
            return self.terms
        return self.terms | {"ada_p"} | ({"real_sign"} if "ada_probability" not in self.variants[variant] else set())

    def scale_of(self, variant: int) -> int | None:
        """``scale``, unless the variant has an ``input_shape`` of its own beside images of 16 pixels."""
        if "input_shape" in self.variants[variant]:
            return 16 // self.variants[variant]["input_shape"][1]
        return self.scale


SMALL = {"width": 4, "latent_dim": 6}
DENSE = {"network": "mlp", "hidden": (12,)}
CLASSES = {"num_classes": 10}
PLAYERS = {"discriminator", "generator", "real_logit", "fake_logit"}
REMEDIES = {
    "minibatch": "discrimination",
    "packing": 2,
    "instance_noise": 0.1,
    "instance_noise_images": 100,
    "augment": ("color", "translation", "cutout"),
    "clip": 1.0,
}
ADA = {"augment": "ada", "ada_target": -0.9, "ada_images": 64}
ALL_ADA = {
    "augment": "ada",
    "ada_probability": 0.8,
    "ada_groups": ("blit", "geom", "color", "filter", "noise", "cutout"),
}
RESIDUAL_SIDES = (16, 32, 64, 128)
PYRAMID_SIDES = (8, 16, 64)
STYLES = {"latent_dim": 6, "style_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8}
DENOISED_SIDES = (8, 28, 64)  # others take minutes: every image is many passes of the network
UNET = {"width": 4, "multipliers": (1, 2), "blocks": 1, "attention": (4,), "depth": 1, "heads": 2}
DIT = {"network": "dit", "width": 8}
GROWING = {"channel_base": 256, "channel_max": 16, "latent_dim": 6}
SHORT_GROWTH = {"stable_images": 4, "fading_images": 8}  # the levels of four batches of 8 are 0, 0.5, 1 and 2
UPSCALER = {"width": 4, "blocks": 1}
UPSCALING_GAN = {
    **UPSCALER,
    "discriminator_width": 4,
    "perceptual": "discriminator",
    "perceptual_layers": None,
    "init_from": None,
}
UPSCALING_TERMS = PLAYERS | {"content", "perceptual"}

CASES = [
    Case(
        Autoencoder,
        terms={"reconstruction", "total"},
        configs=("autoencoder_digits", "autoencoder_mnist", "autoencoder_cifar10", "autoencoder_celeba"),
        variants=({"network": "conv"}, {"network": "mlp", "hidden": (12,)}),
        tiny=SMALL,
    ),
    Case(
        DenoisingAutoencoder,
        terms={"reconstruction", "psnr_in", "psnr_out", "total"},
        configs=("denoising_autoencoder_digits", "denoising_autoencoder_mnist"),
        variants=(
            {"corruption": "gaussian", "amount": 0.3, "ema_half_life": 50.0},
            {"corruption": "masking", "amount": 0.3},
            {"corruption": "salt_and_pepper", "amount": 0.3, **DENSE},
        ),
        tiny=SMALL,
    ),
    Case(
        WAEMMD,
        terms={"reconstruction", "mmd", "total"},
        configs=("wae_mmd_digits", "wae_mmd_mnist"),
        variants=({"ema_half_life": 50.0}, {"scales": (1.0,), "mmd_weight": 3.0, **DENSE}),
        tiny=SMALL,
    ),
    Case(
        AdversarialAutoencoder,
        terms=PLAYERS | {"reconstruction"},
        configs=("adversarial_autoencoder_digits", "adversarial_autoencoder_mnist"),
        variants=(
            {"discriminator_hidden": (12,), "ema_half_life": 50.0},
            {"n_critic": 2, "accumulate": 2, "clip": 1.0, **DENSE},
        ),
        tiny=SMALL,
    ),
    Case(
        VAE,
        terms={"reconstruction", "kl", "elbo", "total"},
        configs=("vae_digits", "vae_mnist", "vae_mnist_binarized", "vae_cifar10", "vae_celeba"),
        variants=(
            {"network": "conv", "ema_half_life": 50.0},
            {"likelihood": "gaussian", "kl_schedule": "linear", "kl_images": 64, "free_bits": 0.01, **DENSE},
        ),
        tiny=SMALL,
    ),
    Case(
        BetaVAE,
        terms={"reconstruction", "kl", "elbo", "total"},
        configs=("beta_vae_digits", "beta_vae_mnist"),
        variants=({"kl_schedule": "cyclical", "kl_images": 64}, {"capacity": 5.0, "capacity_images": 64, **DENSE}),
        tiny=SMALL,
    ),
    Case(
        ConditionalVAE,
        terms={"reconstruction", "kl", "elbo", "total"},
        configs=("conditional_vae_digits", "conditional_vae_mnist"),
        variants=(CLASSES, {**CLASSES, "likelihood": "gaussian", "sigma": 0.5, **DENSE}),
        tiny=SMALL,
    ),
    Case(
        IWAE,
        terms={"bound", "elbo", "total"},
        configs=("iwae_digits", "iwae_mnist", "iwae_mnist_binarized"),
        variants=({"num_importance": 3}, {"num_importance": 2, "estimator": "dreg", "likelihood": "gaussian", **DENSE}),
        tiny=SMALL,
    ),
    Case(
        VQVAE,
        terms={"reconstruction", "commitment", "perplexity", "prior", "total"},
        configs=("vqvae_digits", "vqvae_mnist"),
        variants=(
            {"ema_half_life": 50.0, "revive_below": 0.5, "prior_dropout": 0.2},
            {"downsample": 8, "commitment": 1.0, "prior_lr": 1e-2, "prior_kernel": 3, "lr_schedule": "linear"},
        ),
        tiny={"width": 4, "code_dim": 3, "codebook_size": 8, "prior_width": 8, "prior_layers": 2},
        sides=(8, 16, 32, 64, 128),
    ),
    Case(
        GAN,
        terms=PLAYERS,
        configs=("gan_digits", "gan_mnist"),
        variants=({"hidden": (16, 12)}, {"hidden": (12,), "loss": "minimax", **REMEDIES, "label_smoothing": 0.1}),
        tiny={"latent_dim": 6},
    ),
    Case(
        DCGAN,
        terms=PLAYERS,
        configs=("dcgan_digits", "dcgan_mnist", "dcgan_stacked_mnist", "dcgan_cifar10", "dcgan_celeba", "dcgan_folder"),
        variants=(
            {"ema_half_life": 50.0},
            {"n_critic": 2, "clip": 1.0, "lr_schedule": "linear", "accumulate": 2},
            {"minibatch": "stddev", "packing": 2, "label_smoothing": 0.1, **ADA},
        ),
        tiny=SMALL,
    ),
    Case(
        LSGAN,
        terms=PLAYERS,
        configs=("lsgan_digits", "lsgan_mnist"),
        variants=({}, {"coding": "-1-1-0", **REMEDIES, "label_smoothing": 0.1}),
        tiny=SMALL,
    ),
    Case(
        WGAN,
        terms=PLAYERS,
        configs=("wgan_digits", "wgan_mnist"),
        variants=({"n_critic": 2}, {"n_critic": 1, **REMEDIES}),
        tiny=SMALL,
    ),
    Case(
        WGANGP,
        terms=PLAYERS | {"gradient_penalty"},
        configs=("wgan_gp_digits", "wgan_gp_mnist"),
        variants=(
            {"n_critic": 2},
            {"n_critic": 1, "penalty_every": 2, "accumulate": 2, **REMEDIES, "minibatch": "stddev"},
        ),
        tiny=SMALL,
    ),
    Case(
        SNGAN,
        terms=PLAYERS,
        configs=("sngan_digits", "sngan_mnist"),
        # a rate at which the hinge's margin is left in a few batches: within it the bias is pulled to both sides alike
        variants=({"n_critic": 2, "discriminator_lr": 0.02}, {"n_critic": 1, "network": "dcgan", **REMEDIES}),
        tiny=SMALL,
        sides=RESIDUAL_SIDES,
    ),
    Case(
        R1GAN,
        terms=PLAYERS | {"r1"},
        configs=("r1gan_digits", "r1gan_mnist"),
        variants=(
            {},
            {"penalty_every": 3, **REMEDIES, "minibatch": "stddev", "label_smoothing": 0.1},
            {"penalty_every": 2, "instance_noise": 0.1, **ALL_ADA},
        ),
        tiny=SMALL,
    ),
    Case(
        R3GAN,
        terms=PLAYERS | {"r1", "r2"},
        configs=("r3gan_digits", "r3gan_mnist", "r3gan_stacked_mnist", "r3gan_cifar10", "r3gan_ffhq"),
        variants=(
            {"ema_half_life": 50.0},
            {
                "conditional": True,
                **CLASSES,
                "full_width_side": 8,
                "group_width": 4,
                "penalty_every": 2,
                "accumulate": 2,
                "packing": 2,
                "instance_noise": 0.1,
                "augment": ("translation",),
                "burn_in_images": 20,
            },
        ),
        tiny={"width": 8, "latent_dim": 6, "blocks": 1},
        sides=(8, 16, 64),
    ),
    Case(
        ConditionalGAN,
        terms=PLAYERS,
        configs=("conditional_gan_digits", "conditional_gan_mnist"),
        variants=(CLASSES, {**CLASSES, "network": "mlp", "hidden": (12,), **REMEDIES}),
        tiny=SMALL,
    ),
    Case(
        ProjectionGAN,
        terms=PLAYERS,
        configs=("projection_gan_digits", "projection_gan_mnist"),
        variants=({**CLASSES, "n_critic": 2, "discriminator_lr": 0.02}, {**CLASSES, "n_critic": 1, **REMEDIES}),
        tiny=SMALL,
        sides=RESIDUAL_SIDES,
    ),
    Case(
        ACGAN,
        terms=PLAYERS | {"real_class", "fake_class"},
        configs=("acgan_digits", "acgan_mnist"),
        variants=(CLASSES, {**CLASSES, **REMEDIES}),
        tiny=SMALL,
    ),
    Case(
        UnrolledGAN,
        terms=PLAYERS,
        configs=("unrolled_gan_digits", "unrolled_gan_mnist"),
        variants=({"unrolled_steps": 2}, {"unrolled_steps": 1, **REMEDIES}),
        tiny=SMALL,
    ),
    Case(
        ProGAN,
        terms=PLAYERS | {"gradient_penalty"},
        configs=("progan_digits", "progan_celeba"),
        variants=(
            SHORT_GROWTH,
            {"start_side": None, "ema_half_life": None, "packing": 2, "augment": ("translation",), "accumulate": 2},
        ),
        tiny=GROWING,
        sides=PYRAMID_SIDES,
    ),
    Case(
        StyleGAN,
        terms=PLAYERS | {"r1"},
        configs=("stylegan_digits", "stylegan_ffhq"),
        variants=(
            {"start_side": 4, **SHORT_GROWTH},
            {"start_side": None, "ema_half_life": None, "packing": 2, "augment": ("translation",), "accumulate": 2},
        ),
        tiny={**GROWING, "style_dim": 8, "mapping_layers": 2},
        sides=PYRAMID_SIDES,
    ),
    Case(
        StyleGAN2,
        terms=PLAYERS | {"r1", "path_length", "path_length_penalty"},
        configs=(
            "stylegan2_digits",
            "stylegan2_mnist",
            "stylegan2_folder",
            "stylegan2_cifar10",
            "stylegan2_afhq",
            "stylegan2_ffhq256",
            "stylegan2_ffhq1024",
        ),
        variants=(
            {"penalty_every": 2, "generator_penalty_every": 2, "ema_half_life": None},
            {"conditional": True, "accumulate": 2, "clip": 1.0, "packing": 2, "input": "fourier", **CLASSES, **ADA},
        ),
        tiny=STYLES,
        sides=PYRAMID_SIDES,
    ),
    Case(
        StyleGAN3,
        terms=PLAYERS | {"r1"},
        configs=("stylegan3_digits", "stylegan3_afhq"),
        variants=(
            {"penalty_every": 2, "blur_sigma": 1.0, "ema_half_life": None},
            {"config": "r", "conditional": True, "accumulate": 2, "clip": 1.0, **CLASSES},
        ),
        tiny=STYLES | {"num_layers": 3, "num_critical": 1, "margin": 2, "channel_base": 32},
        sides=PYRAMID_SIDES,
    ),
    Case(
        DDPM,
        terms={"error", "total"},
        configs=("ddpm_digits", "ddpm_conditional_digits", "ddpm_mnist", "ddpm_cifar10", "ddpm_celeba"),
        variants=(
            {"prediction": "v", "schedule": "cosine", "num_times": 100, "ema_half_life": 50.0},
            {"weighting": "min_snr", "schedule": "sigmoid", "conditional": True, **CLASSES, **DIT},
        ),
        tiny=UNET,
        sides=DENOISED_SIDES,
    ),
    Case(
        EDM,
        terms={"error", "total"},
        configs=("edm_digits", "edm_conditional_digits", "edm_mnist", "edm_cifar10", "edm_conditional_cifar10"),
        variants=({"warmup_images": 16}, {"conditional": True, **CLASSES, **DIT}),
        tiny=UNET,
        sides=DENOISED_SIDES,
    ),
    Case(
        FlowMatching,
        terms={"error", "total"},
        configs=(
            "flow_matching_digits",
            "flow_matching_conditional_digits",
            "flow_matching_mnist",
            "flow_matching_cifar10",
            "flow_matching_celeba",
        ),
        variants=(
            {"coupling": "optimal_transport", "training_times": "logit_normal"},
            {"conditional": True, "lr_schedule": "linear", **CLASSES, **DIT},
        ),
        tiny=UNET,
        sides=DENOISED_SIDES,
    ),
    Case(
        ConsistencyModel,
        terms={"distance", "intervals", "total"},
        configs=("consistency_digits", "consistency_mnist", "consistency_cifar10"),
        variants=({"doubling_images": 16, "dropout": 0.2}, {"conditional": True, **CLASSES, **DIT}),
        tiny=UNET,
        sides=DENOISED_SIDES,
    ),
    Case(
        SRResNet,
        terms={"reconstruction", "psnr", "total"},
        configs=("srresnet_mnist", "srresnet_mnist_x2", "srresnet_bsds", "srresnet_div2k", "rrdb_df2k"),
        variants=(
            {"ema_half_life": 50.0, "lr_schedule": "cosine"},
            {"norm": "batch", "loss": "mse", "input_shape": (1, 4, 4)},
            {"network": "rrdb"},
            {"network": "rrdb", "input_shape": (1, 4, 4)},
        ),
        tiny=UPSCALER,
        scale=2,
    ),
    Case(
        SRGAN,
        terms=UPSCALING_TERMS,
        configs=("srgan_mnist", "srgan_div2k"),
        variants=(
            {"ema_half_life": 50.0},
            {"norm": "batch", "content": "mse", "accumulate": 2, "n_critic": 2, "input_shape": (1, 4, 4)},
        ),
        tiny=UPSCALING_GAN,
        scale=2,
    ),
    Case(
        ESRGAN,
        terms=UPSCALING_TERMS,
        configs=("esrgan_mnist", "esrgan_df2k", "real_esrgan_df2k"),
        variants=(
            {"lr_schedule": "step"},
            {"network": "srresnet", "discriminator": "unet", "clip": 1.0, "relativistic": False, "sharpen": True},
            {"discriminator_norm": "spectral", "ema_half_life": 50.0},
        ),
        tiny=UPSCALING_GAN,
        scale=2,
    ),
    Case(
        Pix2Pix,
        terms=PLAYERS | {"l1"},
        configs=("pix2pix_mnist_edges", "pix2pix_bsds", "pix2pix_facades", "pix2pix_maps"),
        variants=(
            {"ema_half_life": 50.0, "input_shape": (3, 16, 16), "loss": "least_squares", "halvings": 2},
            {
                "norm": "batch",
                "discriminator_norm": "batch",
                "dropout": 0.5,
                "upsampling": "transposed",
                "test_mode": "train",
                "accumulate": 2,
            },
        ),
        tiny={"width": 4, "discriminator_width": 4},
        scale=1,
    ),
    Case(
        CycleGAN,
        terms=PLAYERS | {"cycle", "identity"},
        configs=("cyclegan_digits_inverted", "cyclegan_mnist_strokes", "cyclegan_horse2zebra"),
        variants=(
            {"ema_half_life": 50.0, "pool_size": 5},
            {
                "pool_size": 50,
                "norm": "batch",
                "discriminator_norm": "spectral",
                "upsampling": "transposed",
                "lr_schedule": "linear",
                "decay_start": 0.5,
                "n_critic": 2,
                "loss": "non_saturating",
            },
        ),
        tiny={"width": 4, "blocks": 1, "downsamplings": 1, "discriminator_width": 4},
        scale=1,
        per_rank=("image_pool.images", "input_pool.images"),
    ),
    Case(
        CUT,
        terms=PLAYERS | {"nce"},
        configs=("cut_mnist_strokes", "cut_horse2zebra"),
        variants=({"ema_half_life": 50.0, "blocks": 2}, {"mode": "fastcut", "clip": 1.0, "antialias": False}),
        tiny={
            "width": 4,
            "blocks": 1,
            "downsamplings": 1,
            "discriminator_width": 4,
            "patch_features": 8,
            "num_patches": 16,
        },
        scale=1,
    ),
    Case(
        SR3,
        terms={"error", "total"},
        configs=("sr3_mnist", "sr3_mnist_grey_inpaint", "sr3_cifar10_grey", "sr3_celeba"),
        variants=(
            {"prediction": "v", "schedule": "cosine", "ema_half_life": 50.0},
            {"weighting": "min_snr", "num_times": 100, "input_shape": (1, 16, 16), **DIT},
        ),
        tiny=UNET,
        sides=DENOISED_SIDES,
        scale=2,
    ),
]
