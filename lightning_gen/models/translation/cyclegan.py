"""CycleGAN (Zhu et al. 2017, https://arxiv.org/abs/1703.10593).

With inputs x and images y of two domains that are not paired, generators G: x -> y and F: y -> x, and a discriminator
of each domain (equations 1 to 3, and the identity loss of section 5.2):

    discriminators: minimise the least-squares losses of D_y on y and G(x), and of D_x on x and F(y)
    generators:     minimise E (D_y(G(x)) - 1)^2 + E (D_x(F(y)) - 1)^2
                        + cycle_weight    (E |F(G(x)) - x| + E |G(F(y)) - y|)
                        + identity_weight (E |G(y) - y| + E |F(x) - x|)
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from torch import Tensor, nn

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.lightning_compat import exclude_from_broadcast
from lightning_gen.models.translation.base import GanLoss, TranslationGAN, absolute_error, patch_logits
from lightning_gen.networks.replay import ReplayPool
from lightning_gen.networks.resampling import Upsampling
from lightning_gen.networks.translators import ResNetTranslator, TwoWayTranslator
from lightning_gen.types import Batch, Images, ImageShape, Inputs, Loss, RandomSource


class CycleGAN(TranslationGAN):
    """Two ResNets that are trained on two domains without pairs, by cycle consistency and two discriminators.

    The network object holds both generators, so that an EMA averages both. The paper's learning rate is constant in the
    first half of the run and decays to 0 in the second: ``lr_schedule: linear`` with ``decay_start: 0.5``. Upsampling
    is nearest interpolation and a convolution, against checkerboard artefacts; ``transposed`` is the paper's.

    The identity loss keeps colours, and forbids tasks that change them, such as inversion. The paper uses it for
    paintings and photographs alone, the authors' code always. On horses and zebras it moves the FID by about 12, so
    results are comparable only at one weight.

    Each rank has pools of its own. A checkpoint holds those of rank 0, which all ranks get when they resume.

    Args:
        image_shape: (channels, height, width) of the images of the second domain.
        input_shape: (channels, height, width) of the inputs, the images of the first domain.
        cycle_weight: weight of the cycle-consistency loss of images in [-1, 1].
        identity_weight: weight of the identity loss; the authors' code uses half of the cycle weight; 0 for none, which
            saves two passes of the generators.
        loss: adversarial loss, see :class:`TranslationGAN`.
        pool_size: number of earlier translations in the replay pool of each direction; 0 for none.
        width: number of channels of the generators next to the image.
        blocks: number of residual blocks; None: 9 from 256 pixels, and 6 below.
        downsamplings: number of halvings in the generators.
        norm: ``instance`` or ``batch``, of the generators.
        upsampling: ``nearest``, ``bilinear`` or ``transposed``.
        **kwargs: see :class:`TranslationGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if there is an identity loss, and the two domains have different numbers of channels.
    """

    needs_pairs = False

    def __init__(
        self,
        image_shape: ImageShape,
        input_shape: ImageShape,
        cycle_weight: float = 10.0,
        identity_weight: float = 5.0,
        loss: GanLoss = "least_squares",
        pool_size: int = 50,
        width: int = 64,
        blocks: int | None = None,
        downsamplings: int = 2,
        norm: Literal["instance", "batch"] = "instance",
        upsampling: Upsampling = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, input_shape=input_shape, loss=loss, **kwargs)
        check_at_least(0, cycle_weight=cycle_weight, identity_weight=identity_weight)
        check_at_least(1, width=width)
        channels, input_channels = self.image_shape[0], self.input_shape[0]
        if identity_weight and channels != input_channels:
            raise InputError(
                f"model.identity_weight is {identity_weight}, and the inputs have {input_channels} channels and the "
                f"images {channels}; set it to 0"
            )
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        forward_generator, backward_generator = (
            ResNetTranslator(inputs, outputs, width, blocks, downsamplings, norm, upsampling)
            for inputs, outputs in ((input_channels, self.image_shape), (channels, self.input_shape))
        )
        self.input_multiple = forward_generator.multiple
        self.set_network(TwoWayTranslator(forward_generator, backward_generator))
        self.image_discriminator = self.make_discriminator(channels)
        self.input_discriminator = self.make_discriminator(input_channels)
        self.image_pool = ReplayPool(pool_size, self.image_shape)
        self.input_pool = ReplayPool(pool_size, self.input_shape)
        pools = (name for name, _ in self.named_buffers() if name.startswith(("image_pool.", "input_pool.")))
        self.rank_buffers = tuple(pools) if pool_size else ()
        exclude_from_broadcast(self, self.rank_buffers)
        self.save_hyperparameters()

    @property
    def forward_generator(self) -> nn.Module:
        """G, from the inputs to the images."""
        return cast(TwoWayTranslator, self.network).forward_generator

    @property
    def backward_generator(self) -> nn.Module:
        """F, from the images to the inputs."""
        return cast(TwoWayTranslator, self.network).backward_generator

    def discriminators(self) -> Sequence[nn.Module]:
        """The discriminators of the images and of the inputs."""
        return [self.image_discriminator, self.input_discriminator]

    def generate(self, batch: Batch) -> dict[str, Tensor]:
        """Translate the inputs to ``images``, and the images to ``inputs``."""
        return {
            "images": self.forward_generator(self.inputs_of(batch)),
            "inputs": self.backward_generator(batch.images),
        }

    def discriminator_loss(self, batch: Batch, fakes: Mapping[str, Tensor]) -> Loss:
        """The sum of both discriminators' losses on translations from the pools, and their mean logits."""
        losses = [
            self.adversarial_discriminator_loss(patch_logits(discriminator, real), patch_logits(discriminator, fake))
            for discriminator, real, fake in (
                (self.image_discriminator, batch.images, self.image_pool(fakes["images"])),
                (self.input_discriminator, self.inputs_of(batch), self.input_pool(fakes["inputs"])),
            )
        ]
        first, second = losses
        terms = {name: (value + second.terms[name]) / 2 for name, value in first.terms.items()}
        total = first.total + second.total
        return Loss(total, {**terms, "discriminator": total})

    def generator_loss(self, batch: Batch, fakes: Mapping[str, Tensor]) -> Loss:
        """The sums over both directions of the adversarial, the cycle-consistency and the identity losses."""
        images, inputs = batch.images, self.inputs_of(batch)
        adversarial = self.adversarial_generator_loss(
            patch_logits(self.image_discriminator, fakes["images"])
        ) + self.adversarial_generator_loss(patch_logits(self.input_discriminator, fakes["inputs"]))
        cycle = absolute_error(self.backward_generator(fakes["images"]), inputs) + absolute_error(
            self.forward_generator(fakes["inputs"]), images
        )
        total, terms = adversarial + self.cycle_weight * cycle, {"generator": adversarial, "cycle": cycle}
        if self.identity_weight:
            identity = absolute_error(self.forward_generator(images), images) + absolute_error(
                self.backward_generator(inputs), inputs
            )
            total, terms["identity"] = total + self.identity_weight * identity, identity
        return Loss(total, terms)

    def translate_back(self, images: Images, *, generator: RandomSource = None) -> Inputs:
        """Translate images of the second domain to the first; ``generator`` has no effect."""
        with self.inference_network() as network:
            return self.apply_to_any_size(cast(TwoWayTranslator, network).backward_generator, images)
