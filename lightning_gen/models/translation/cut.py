"""CUT and FastCUT: contrastive unpaired translation (Park et al. 2020, https://arxiv.org/abs/2007.15651).

With inputs x and images y of two domains that are not paired, a generator G, and a discriminator D of images:

    discriminator: minimise the least-squares loss of D on y and G(x)
    generator:     minimise E (D(G(x)) - 1)^2 + nce_weight (NCE(G(x), x) + NCE(G(y), y)) / 2    CUT
                   minimise E (D(G(x)) - 1)^2 + nce_weight NCE(G(x), x)                         FastCUT

NCE(a, b) compares the features of a and b at random positions (:mod:`lightning_gen.losses.patch_nce`). The features are
maps of G's own encoder after a small network per map, and the loss is the mean over the maps.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lightning_gen.checks import check_above, check_at_least
from lightning_gen.errors import InputError
from lightning_gen.losses.patch_nce import patch_nce
from lightning_gen.models.translation.base import GanLoss, TranslationGAN, patch_logits
from lightning_gen.networks.patch_features import PatchHeads, draw_positions
from lightning_gen.networks.resampling import Upsampling
from lightning_gen.networks.translators import ResNetTranslator
from lightning_gen.types import Batch, Images, ImageShape, Loss

NCE_WEIGHTS = {"cut": 1.0, "fastcut": 10.0}


class CUT(TranslationGAN):
    """A ResNet that is trained on two domains without pairs, by a contrastive loss of patches and a discriminator.

    A patch of the translation shall tell which patch of the input it was made from. ``cut`` also applies the loss to
    images of the second domain, which G shall keep; the two losses are averaged, as in the authors' code. ``fastcut``
    leaves this out, with a larger weight, and flips half of the inputs: their translations' features are flipped back
    and compared to those of the inputs that were not flipped.

    Generator and discriminator are initialised by Xavier's normal distribution with gain 0.02, and the resampling is
    anti-aliased. The feature networks are trained with the generator. The network object is the generator alone.

    Args:
        image_shape: (channels, height, width) of the images of the second domain.
        input_shape: (channels, height, width) of the inputs, the images of the first domain.
        mode: ``cut`` or ``fastcut``.
        nce_weight: weight of the contrastive loss; None: 1 for ``cut`` and 10 for ``fastcut``.
        num_patches: number of positions per map and image; smaller maps use all of theirs.
        patch_features: number of features of a position.
        temperature: temperature of the contrastive loss.
        loss: adversarial loss, see :class:`TranslationGAN`.
        width: number of channels of the generator next to the image.
        blocks: number of residual blocks; None: 9 from 256 pixels, and 6 below.
        downsamplings: number of halvings in the generator.
        norm: ``instance`` or ``batch``, of the generator.
        upsampling: ``nearest``, ``bilinear`` or ``transposed``.
        antialias: whether a blur precedes the subsampling in both networks.
        **kwargs: see :class:`TranslationGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if the two domains have different numbers of channels, or a value is out of range.
    """

    needs_pairs = False

    def __init__(
        self,
        image_shape: ImageShape,
        input_shape: ImageShape,
        mode: Literal["cut", "fastcut"] = "cut",
        nce_weight: float | None = None,
        num_patches: int = 256,
        patch_features: int = 256,
        temperature: float = 0.07,
        loss: GanLoss = "least_squares",
        width: int = 64,
        blocks: int | None = None,
        downsamplings: int = 2,
        norm: Literal["instance", "batch"] = "instance",
        upsampling: Upsampling = "bilinear",
        antialias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, input_shape=input_shape, loss=loss, **kwargs)
        check_at_least(0, nce_weight=nce_weight)
        check_at_least(1, num_patches=num_patches, width=width)
        check_above(0, temperature=temperature)
        if self.input_shape[0] != self.image_shape[0]:
            raise InputError(
                f"CUT compares inputs and images, and the inputs have {self.input_shape[0]} channels and the images "
                f"{self.image_shape[0]}; make them equal, or use CycleGAN"
            )
        self.mode, self.num_patches, self.temperature = mode, num_patches, temperature
        self.nce_weight = NCE_WEIGHTS[mode] if nce_weight is None else nce_weight
        network = ResNetTranslator(
            self.input_shape[0],
            self.image_shape,
            width,
            blocks,
            downsamplings,
            norm,
            upsampling,
            antialias,
            initialization="xavier",
        )
        self.input_multiple = network.multiple
        self.set_network(network)
        self.heads = PatchHeads(network.feature_channels, patch_features)
        self.discriminator = self.make_discriminator(self.image_shape[0], antialias, initialization="xavier")
        self.save_hyperparameters()

    def generators(self) -> Sequence[nn.Module]:
        """The generator and the feature networks."""
        return [self.network, self.heads]

    def discriminators(self) -> Sequence[nn.Module]:
        """The discriminator of images."""
        return [self.discriminator]

    def generate(self, batch: Batch) -> dict[str, Tensor]:
        """Translate the inputs to ``images``; ``flipped`` says which inputs were flipped horizontally before."""
        inputs = self.inputs_of(batch)
        flipped = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
        if self.mode == "fastcut":
            flipped = torch.rand(len(inputs), device=inputs.device) < 0.5
        return {"images": self.network(flip(inputs, flipped)), "flipped": flipped}

    def discriminator_loss(self, batch: Batch, fakes: Mapping[str, Tensor]) -> Loss:
        """The loss of the discriminator."""
        real = patch_logits(self.discriminator, batch.images)
        return self.adversarial_discriminator_loss(real, patch_logits(self.discriminator, fakes["images"]))

    def generator_loss(self, batch: Batch, fakes: Mapping[str, Tensor]) -> Loss:
        """The adversarial loss and the weighted contrastive loss."""
        adversarial = self.adversarial_generator_loss(patch_logits(self.discriminator, fakes["images"]))
        nce = self.contrast(self.inputs_of(batch), fakes["images"], fakes["flipped"])
        if self.mode == "cut":
            kept = self.network(batch.images)
            nce = (nce + self.contrast(batch.images, kept, torch.zeros_like(fakes["flipped"]))) / 2
        return Loss(adversarial + self.nce_weight * nce, {"generator": adversarial, "nce": nce})

    def contrast(self, inputs: Images, translations: Images, flipped: Bool[Tensor, " batch"]) -> Float[Tensor, ""]:
        """The contrastive loss of translations and their inputs, the mean over the maps of the encoder.

        Args:
            inputs: images.
            translations: their translations.
            flipped: which translations are flipped horizontally.

        Returns:
            The loss.
        """
        encoder = cast(ResNetTranslator, self.network)
        with torch.no_grad():
            key_maps = encoder.features(inputs)
        query_maps = [flip(maps, flipped) for maps in encoder.features(translations)]
        positions = draw_positions(key_maps, self.num_patches)
        with torch.no_grad():
            keys = self.heads(key_maps, positions)
        queries = self.heads(query_maps, positions)
        losses = [patch_nce(query, key, self.temperature) for query, key in zip(queries, keys, strict=True)]
        return torch.stack(losses).mean()


def flip(maps: Tensor, chosen: Bool[Tensor, " batch"]) -> Tensor:
    """Flip the chosen maps of a batch horizontally."""
    return torch.where(chosen[:, None, None, None], maps.flip(3), maps)
