"""Pix2Pix (Isola et al. 2017, https://arxiv.org/abs/1611.07004).

With pairs of an input x and an image y, and a discriminator D of both (equations 1 to 4):

    discriminator: minimise (-E log D(x, y) - E log(1 - D(x, G(x)))) / 2
    generator:     minimise -E log D(x, G(x)) + lambda E |y - G(x)|
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from lightning_gen.checks import check_at_least
from lightning_gen.models.translation.base import GanLoss, TranslationGAN, absolute_error, patch_logits
from lightning_gen.networks.norms import MapNorm
from lightning_gen.networks.resampling import Upsampling
from lightning_gen.networks.translators import UNetTranslator
from lightning_gen.noise import integers, seed_global
from lightning_gen.types import Batch, Images, ImageShape, Inputs, Loss, RandomSource

TestMode = Literal["eval", "train"]
SEEDS = 2**32


class Pix2Pix(TranslationGAN):
    """A U-Net that is trained on pairs, by an L1 loss and a discriminator of pairs.

    The defaults differ from the paper in three respects. Norms are instance norms, there is no dropout, and networks
    are in eval mode when they translate, so that a translation depends on its input alone. The paper uses BatchNorm and
    dropout 0.5, and keeps both in train mode when it translates, where the dropout is the only source of noise and
    changes little. Networks with BatchNorm that were trained with batches of one image are blurred or wrong in eval
    mode; ``norm: batch``, ``discriminator_norm: batch``, ``dropout: 0.5`` and ``test_mode: train`` are the paper's.
    Upsampling is nearest interpolation and a convolution against checkerboard artefacts; the paper's is ``transposed``.

    Args:
        image_shape: (channels, height, width) of the images that it makes.
        input_shape: (channels, height, width) of the inputs.
        l1_weight: lambda, the weight of the mean absolute error of images in [-1, 1].
        loss: adversarial loss, see :class:`TranslationGAN`.
        width: number of channels of the U-Net next to the image.
        halvings: number of halvings of the U-Net; None: floor(log2(shorter side)).
        norm: ``instance`` or ``batch``, of the U-Net.
        dropout: dropout of the first three layers of the decoder, in [0, 1).
        upsampling: ``nearest``, ``bilinear`` or ``transposed``.
        test_mode: mode of dropout and BatchNorm in :meth:`translate`: ``eval``, or ``train``, where BatchNorm takes the
            statistics of each translated image alone.
        **kwargs: see :class:`TranslationGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        input_shape: ImageShape,
        l1_weight: float = 100.0,
        loss: GanLoss = "non_saturating",
        width: int = 64,
        halvings: int | None = None,
        norm: Literal["instance", "batch"] = "instance",
        dropout: float = 0.0,
        upsampling: Upsampling = "nearest",
        test_mode: TestMode = "eval",
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, input_shape=input_shape, loss=loss, **kwargs)
        check_at_least(0, l1_weight=l1_weight)
        check_at_least(1, width=width)
        self.l1_weight, self.test_mode = l1_weight, test_mode
        generator_norm: MapNorm = norm
        network = UNetTranslator(
            self.input_shape[0], self.image_shape, width, halvings, generator_norm, dropout, upsampling
        )
        self.input_multiple = network.multiple
        self.set_network(network)
        self.discriminator = self.make_discriminator(self.input_shape[0] + self.image_shape[0])
        self.save_hyperparameters()

    def discriminators(self) -> Sequence[nn.Module]:
        """The discriminator of pairs."""
        return [self.discriminator]

    def generate(self, batch: Batch) -> Images:
        """Translate the inputs."""
        return self.network(self.inputs_of(batch))

    def discriminator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """The loss of the discriminator of pairs."""
        inputs = self.inputs_of(batch)
        real = patch_logits(self.discriminator, inputs, batch.images)
        return self.adversarial_discriminator_loss(real, patch_logits(self.discriminator, inputs, fakes))

    def generator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """The adversarial loss and the weighted L1 loss."""
        adversarial = self.adversarial_generator_loss(patch_logits(self.discriminator, self.inputs_of(batch), fakes))
        l1 = absolute_error(fakes, batch.images)
        return Loss(adversarial + self.l1_weight * l1, {"generator": adversarial, "l1": l1})

    def translate(self, inputs: Inputs, *, generator: RandomSource = None) -> Images:
        """Translate images of any height and width; with ``test_mode: train``, dropout draws from ``generator``."""
        if self.test_mode == "eval":
            return super().translate(inputs)
        with self.inference_network() as network, train_mode(network):
            if generator is None:
                return torch.cat([self.apply_to_any_size(network, one) for one in inputs.split(1)])
            seeds = integers(len(inputs), SEEDS, generator=generator).tolist()
            devices = [inputs.device] if inputs.device.type == "cuda" else []
            translations = []
            with torch.random.fork_rng(devices=devices):
                for one, seed in zip(inputs.split(1), seeds, strict=True):
                    seed_global(seed, inputs.device)
                    translations.append(self.apply_to_any_size(network, one))
            return torch.cat(translations)


@contextmanager
def train_mode(network: nn.Module) -> Iterator[None]:
    """Enable dropout, and BatchNorm with the statistics of the batch; the running statistics are left alone.

    Args:
        network: a network in eval mode.

    Yields:
        Nothing.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm)]
    dropouts = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    statistics = [(norm.running_mean, norm.running_var) for norm in norms]
    try:
        for dropout in dropouts:
            dropout.training = True
        for norm in norms:
            norm.running_mean = norm.running_var = None  # without them, a norm in eval mode computes the batch's
        yield
    finally:
        for norm, (mean, variance) in zip(norms, statistics, strict=True):
            norm.running_mean, norm.running_var = mean, variance
        for dropout in dropouts:
            dropout.training = False
